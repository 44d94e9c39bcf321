{{ published('inventory_balance', columns=[
    'source_system',
    'source_key',
    'material_id',
    'plant_id',
    'storage_location_id',
    'batch_id',
    'stock_type',
    'special_stock_type',
    'quantity',
    'quantity_unit',
]) }}
