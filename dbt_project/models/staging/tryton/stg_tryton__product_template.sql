{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'product_template') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as template_id,
        {{ blank_to_null('source.name') }} as material_name,
        source.type as source_product_type,
        cast(source.default_uom as string) as base_unit_id,
        coalesce(source.salable, false) as is_salable,
        coalesce(source.purchasable, false) as is_purchasable,
        coalesce(source.producible, false) as is_producible,
        coalesce(source.active, true) as is_active,
        coalesce(source.write_date, source.create_date) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'product_template') }} as source_row
    from source

)

select * from renamed
