{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'party_address') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as address_id,
        cast(source.party as string) as party_id,
        source.sequence,
        cast(source.country as string) as country_id,
        {{ blank_to_null('source.city') }} as city,
        coalesce(
            {{ blank_to_null('source.street_unstructured') }},
            {{ blank_to_null("concat_ws(' ', source.street_name, source.building_number)") }}
        ) as street,
        {{ blank_to_null('source.postal_code') }} as postal_code,
        coalesce(source.active, true) as is_active,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'party_address') }} as source_row
    from source

)

select * from renamed
