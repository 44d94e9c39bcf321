with source as (

    select * from {{ bronze('erp', 'material_stock') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key([
            'Material', 'Plant', 'StorageLocation', 'Batch', 'InventoryStockType', 'InventorySpecialStockType'
        ]) }} as source_key,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.Plant') }} as plant_id,
        {{ blank_to_null('source.StorageLocation') }} as storage_location_id,
        {{ blank_to_null('source.Batch') }} as batch_id,
        stock_type.code as stock_type,
        source.InventoryStockType as source_stock_type,
        {{ blank_to_null('source.InventorySpecialStockType') }} as special_stock_type,
        try_cast(source.MatlWrhsStkQtyInMatlBaseUnit as decimal(18, 3)) as quantity,
        quantity_unit.code as quantity_unit,
        source.MaterialBaseUnit as source_quantity_unit,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'material_stock') }} as source_row
    from source
    {{ crosswalk('erp', 'stock_type', 'source.InventoryStockType', 'stock_type') }}
    {{ crosswalk('erp', 'unit', 'source.MaterialBaseUnit', 'quantity_unit') }}

)

select * from renamed
