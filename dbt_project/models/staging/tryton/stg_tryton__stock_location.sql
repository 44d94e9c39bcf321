{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'stock_location') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as location_id,
        {{ blank_to_null('source.code') }} as location_code,
        {{ blank_to_null('source.name') }} as location_name,
        source.type as location_type,
        source.left as first_place,
        source.right as last_place,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'stock_location') }} as source_row
    from source

)

select * from renamed
