with product as (

    {{ latest('stg_erp__product') }}

),

description as (

    {{ latest('stg_erp__product_description') }}

),

valuation as (

    {{ latest('stg_erp__product_valuation') }}

),

material_name as (

    select
        material_id,
        max(case when language = 'EN' then material_name end) as material_name,
        max(case when language = 'ZH' then material_name end) as material_name_zh
    from description
    group by material_id

),

price as (

    select
        material_id,
        currency,
        source_currency,
        source_row as price_row,
        cast(standard_price / price_quantity as decimal(18, 6)) as standard_price
    from (
        select
            *,
            row_number() over (partition by material_id order by valuation_area_id) as _place
        from valuation
        where price_quantity > 0
    ) as placed
    where _place = 1

),

described as (

    select
        product.*,
        coalesce(material_name.material_name, material_name.material_name_zh) as material_name,
        coalesce(material_name.material_name_zh, material_name.material_name) as material_name_zh,
        price.standard_price,
        price.currency,
        price.source_currency,
        price.price_row
    from product
    left join material_name on product.material_id = material_name.material_id
    left join price on product.material_id = price.material_id

)

{{ conform__material('described', sent=['source_row', 'price_row']) }}
