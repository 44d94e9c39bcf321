{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'product') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as product_id,
        cast(source.template as string) as template_id,
        {{ material_number('source.code') }} as product_code,
        coalesce(source.active, true) as is_active,
        {{ plant_day('source.create_date') }} as created_on,
        coalesce(source.write_date, source.create_date) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'product') }} as source_row
    from source

)

select * from renamed
