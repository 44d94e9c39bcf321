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

checked as (

    select
        product.*,
        coalesce(material_name.material_name, material_name.material_name_zh) as material_name,
        coalesce(material_name.material_name_zh, material_name.material_name) as material_name_zh,
        price.standard_price,
        price.currency,
        {{ failures([
            required('product.material_id'),
            known_code('product.material_type', 'product.source_material_type', 'material_type'),
            known_code('product.base_unit', 'product.source_base_unit', 'unit'),
            not_negative('product.gross_weight'),
            not_negative('price.standard_price'),
        ]) }}
    from product
    left join material_name on product.material_id = material_name.material_id
    left join price on product.material_id = price.material_id

)

select * from checked
