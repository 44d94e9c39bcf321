{{ config(enabled='tryton' in var('systems')) }}

with product as (

    select * from {{ ref('int_tryton__product') }}

),

cost_price as (

    {{ latest('stg_tryton__product_cost_price') }}

),

company as (

    {{ latest('stg_tryton__company') }}

),

currency as (

    {{ latest('stg_tryton__currency') }}

),

price as (

    select *
    from (
        select
            cost_price.product_id,
            cost_price.cost_price as standard_price,
            currency.currency,
            currency.source_currency,
            row_number() over (partition by cost_price.product_id order by cast(cost_price.company_id as int)) as _place
        from cost_price
        inner join company on cost_price.company_id = company.company_id
        inner join currency on company.currency_id = currency.currency_id
    ) as placed
    where _place = 1

),

joined as (

    select
        product.source_system,
        product.source_key,
        product.material_id,
        product.material_name,
        product.material_name as material_name_zh,
        -- Tryton has no material type: what is done with a product tells it
        case
            when product.is_producible and product.is_salable then 'FINISHED'
            when product.is_producible then 'SEMI_FINISHED'
            when product.is_salable then 'TRADING'
            else 'RAW'
        end as material_type,
        cast(null as string) as material_group,
        cast(null as string) as gtin,
        product.base_unit,
        product.source_base_unit,
        cast(null as decimal(15, 3)) as gross_weight,
        cast(null as decimal(15, 3)) as net_weight,
        cast(null as string) as weight_unit,
        price.standard_price,
        price.currency,
        price.source_currency,
        not product.is_active as is_marked_for_deletion,
        product.created_on,
        greatest(product.changed_at, product.template_changed_at) as changed_at,
        product._datong_batch_id,
        product._datong_ingested_at,
        product.source_row
    from product
    left join price on product.product_id = price.product_id

)

{{ conform__material('joined', computed=['material_type', 'weight_unit']) }}
