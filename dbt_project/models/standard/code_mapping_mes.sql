{{ code_mapping('mes') }}
