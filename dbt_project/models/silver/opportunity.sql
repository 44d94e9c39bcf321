{{ published('opportunity', columns=[
    'source_system',
    'source_key',
    'opportunity_id',
    'customer_id',
    'title',
    'stage',
    'amount',
    'currency',
    'probability',
    'expected_close_on',
    'changed_at',
]) }}
