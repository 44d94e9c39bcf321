{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'sale_line') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as sale_line_id,
        cast(source.sale as string) as sale_id,
        source.type as line_type,
        cast(source.product as string) as product_id,
        cast(source.unit as string) as unit_id,
        try_cast(source.quantity as decimal(15, 3)) as quantity,
        try_cast(source.unit_price as decimal(18, 6)) as unit_price,
        {{ blank_to_null('source.description') }} as description,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'sale_line') }} as source_row
    from source

)

select * from renamed
