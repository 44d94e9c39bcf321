{{ published('contact', columns=[
    'source_system',
    'source_key',
    'contact_id',
    'customer_id',
    'full_name',
    'phone',
    'mobile',
    'email',
    'changed_at',
]) }}
