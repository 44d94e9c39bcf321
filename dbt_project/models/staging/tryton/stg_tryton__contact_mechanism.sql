{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'contact_mechanism') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as contact_mechanism_id,
        cast(source.party as string) as party_id,
        source.sequence,
        source.type as mechanism,
        {{ blank_to_null('source.value') }} as value,
        coalesce(source.active, true) as is_active,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'contact_mechanism') }} as source_row
    from source

)

select * from renamed
