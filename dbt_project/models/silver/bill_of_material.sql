{{ published('bill_of_material', columns=[
    'source_system',
    'source_key',
    'bill_of_material_id',
    'variant',
    'material_id',
    'plant_id',
    'base_quantity',
    'base_quantity_unit',
]) }}
