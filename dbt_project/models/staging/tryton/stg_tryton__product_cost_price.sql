{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'product_cost_price') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as cost_price_id,
        cast(source.product as string) as product_id,
        cast(source.company as string) as company_id,
        try_cast(source.cost_price as decimal(18, 6)) as cost_price,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'product_cost_price') }} as source_row
    from source

)

select * from renamed
