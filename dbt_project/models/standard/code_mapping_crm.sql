{{ code_mapping('crm') }}
