with source as (

    select * from {{ bronze('erp', 'bill_of_material') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key([
            'BillOfMaterial', 'BillOfMaterialCategory', 'BillOfMaterialVariant', 'Material', 'Plant'
        ]) }} as source_key,
        {{ without_zeros('source.BillOfMaterial') }} as bill_of_material_id,
        {{ blank_to_null('source.BillOfMaterialVariant') }} as variant,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.Plant') }} as plant_id,
        try_cast(source.BOMHeaderQuantityInBaseUnit as decimal(15, 3)) as base_quantity,
        base_quantity_unit.code as base_quantity_unit,
        source.BOMHeaderBaseUnit as source_base_quantity_unit,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'bill_of_material') }} as source_row
    from source
    {{ crosswalk('erp', 'unit', 'source.BOMHeaderBaseUnit', 'base_quantity_unit') }}

)

select * from renamed
