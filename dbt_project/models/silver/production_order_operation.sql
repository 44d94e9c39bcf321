{{ published('production_order_operation', columns=[
    'source_system',
    'source_key',
    'production_order_id',
    'sequence_id',
    'operation_id',
    'operation_name',
    'work_center_id',
    'quantity',
    'quantity_unit',
]) }}
