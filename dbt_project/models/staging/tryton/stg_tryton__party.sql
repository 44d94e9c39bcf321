{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'party') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as party_id,
        {{ blank_to_null('source.code') }} as party_code,
        {{ blank_to_null('source.name') }} as party_name,
        coalesce(source.active, true) as is_active,
        {{ plant_day('source.create_date') }} as created_on,
        coalesce(source.write_date, source.create_date) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'party') }} as source_row
    from source

)

select * from renamed
