{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'currency') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as currency_id,
        currency.code as currency,
        source.code as source_currency,
        try_cast(source.rounding as decimal(18, 6)) as rounding,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'currency') }} as source_row
    from source
    {{ crosswalk('tryton', 'currency', 'source.code', 'currency') }}

)

select * from renamed
