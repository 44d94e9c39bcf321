{{ code_mapping('erp') }}
