with source as (

    select * from {{ bronze('erp', 'product_valuation') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['Product', 'ValuationArea']) }} as source_key,
        {{ material_number('source.Product') }} as material_id,
        {{ blank_to_null('source.ValuationArea') }} as valuation_area_id,
        try_cast(source.StandardPrice as decimal(18, 3)) as standard_price,
        try_cast(source.PriceUnitQty as decimal(5, 0)) as price_quantity,
        currency.code as currency,
        source.Currency as source_currency,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'product_valuation') }} as source_row
    from source
    {{ crosswalk('erp', 'currency', 'source.Currency', 'currency') }}

)

select * from renamed
