with source as (

    select * from {{ bronze('erp', 'bill_of_material_item') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key([
            'BillOfMaterial', 'BillOfMaterialVariant', 'BillOfMaterialItemNodeNumber', 'Material', 'Plant'
        ]) }} as source_key,
        {{ without_zeros('source.BillOfMaterial') }} as bill_of_material_id,
        {{ blank_to_null('source.BillOfMaterialVariant') }} as variant,
        {{ without_zeros('source.BillOfMaterialItemNodeNumber') }} as item_id,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.Plant') }} as plant_id,
        {{ material_number('source.BillOfMaterialComponent') }} as component_material_id,
        try_cast(source.BillOfMaterialItemQuantity as decimal(15, 3)) as quantity,
        quantity_unit.code as quantity_unit,
        source.BillOfMaterialItemUnit as source_quantity_unit,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'bill_of_material_item') }} as source_row
    from source
    {{ crosswalk('erp', 'unit', 'source.BillOfMaterialItemUnit', 'quantity_unit') }}

)

select * from renamed
