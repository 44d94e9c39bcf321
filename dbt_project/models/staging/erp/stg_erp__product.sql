with source as (

    select * from {{ bronze('erp', 'product') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['Product']) }} as source_key,
        {{ material_number('source.Product') }} as material_id,
        material_type.code as material_type,
        source.ProductType as source_material_type,
        {{ blank_to_null('source.ProductGroup') }} as material_group,
        {{ blank_to_null('source.ProductStandardID') }} as gtin,
        base_unit.code as base_unit,
        source.BaseUnit as source_base_unit,
        try_cast(source.GrossWeight as decimal(15, 3)) as gross_weight,
        try_cast(source.NetWeight as decimal(15, 3)) as net_weight,
        weight_unit.code as weight_unit,
        source.WeightUnit as source_weight_unit,
        case
            when {{ not_sent('IsMarkedForDeletion') }} then false
            else try_cast(source.IsMarkedForDeletion as boolean)
        end as is_marked_for_deletion,
        try_cast(source.CreationDate as date) as created_on,
        try_cast(source.LastChangeDateTime as timestamp) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'product') }} as source_row
    from source
    {{ crosswalk('erp', 'material_type', 'source.ProductType', 'material_type') }}
    {{ crosswalk('erp', 'unit', 'source.BaseUnit', 'base_unit') }}
    {{ crosswalk('erp', 'unit', 'source.WeightUnit', 'weight_unit') }}

)

select * from renamed
