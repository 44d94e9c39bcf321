{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'party_identifier') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as identifier_id,
        cast(source.party as string) as party_id,
        identifier_type.code as identifier_type,
        source.type as source_identifier_type,
        {{ credit_code('source.code') }} as identifier,
        coalesce(source.active, true) as is_active,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'party_identifier') }} as source_row
    from source
    {{ crosswalk('tryton', 'identifier_type', 'source.type', 'identifier_type') }}

)

select * from renamed
