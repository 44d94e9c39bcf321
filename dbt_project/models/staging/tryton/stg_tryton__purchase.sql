{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'purchase') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as purchase_id,
        {{ blank_to_null('source.number') }} as number,
        cast(source.party as string) as party_id,
        source.state as source_status,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'purchase') }} as source_row
    from source

)

select * from renamed
