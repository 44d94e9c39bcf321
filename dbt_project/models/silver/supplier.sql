{{ published('supplier', columns=[
    'source_system',
    'source_key',
    'supplier_id',
    'supplier_name',
    'credit_code',
    'country_code',
    'city',
    'street',
    'postal_code',
    'phone',
    'is_blocked',
    'created_on',
]) }}
