{{ published('bill_of_material_item', columns=[
    'source_system',
    'source_key',
    'bill_of_material_id',
    'variant',
    'item_id',
    'material_id',
    'plant_id',
    'component_material_id',
    'quantity',
    'quantity_unit',
]) }}
