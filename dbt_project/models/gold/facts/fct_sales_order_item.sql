with item as (

    select * from {{ ref('sales_order_item') }}

),

sales_order as (

    select * from {{ ref('sales_order') }}

),

customer as (

    select
        customer.source_system,
        customer.customer_id as source_customer_id,
        golden.golden_id as customer_id
    from {{ ref('customer') }} as customer
    inner join {{ ref('golden_customer') }} as golden
        on customer.source_system = golden.source_system and customer.source_key = golden.source_key

),

production as (

    select
        made.source_system,
        made.sales_order_id,
        made.sales_order_item_id,
        cast(count(*) as int) as production_order_count,
        sum(
            made.produced_quantity
            * case
                when made.quantity_unit = item.quantity_unit then 1
                else coalesce(own_conversion.factor, conversion.factor)
            end
        ) as produced_quantity,
        sum(case when made.status in ('COMPLETED', 'CLOSED') then 1 else 0 end) as finished_count,
        sum(case when made.status in ('IN_PRODUCTION', 'COMPLETED', 'CLOSED') then 1 else 0 end) as started_count
    from {{ ref('fct_production_order') }} as made
    inner join item
        on
            made.source_system = item.source_system
            and made.sales_order_id = item.sales_order_id
            and made.sales_order_item_id = item.sales_order_item_id
    {{ join_unit_conversion('conversion', 'made.quantity_unit', 'item.quantity_unit') }}
    {{ join_material_unit_conversion('own_conversion', 'item', 'made.quantity_unit', 'item.quantity_unit') }}
    group by made.source_system, made.sales_order_id, made.sales_order_item_id, item.quantity_unit

),

delivery as (

    select
        source_system,
        sales_order_id,
        sales_order_item_id,
        max(posted_on) as last_delivered_on
    from {{ ref('material_movement') }}
    where movement_type = 'DELIVERY_ISSUE'
    group by source_system, sales_order_id, sales_order_item_id

)

select
    item.source_system,
    item.sales_order_id,
    item.sales_order_item_id,
    customer.customer_id,
    sales_order.customer_id as source_customer_id,
    item.material_id,
    item.plant_id,
    sales_order.ordered_on,
    sales_order.requested_delivery_on,
    delivery.last_delivered_on,
    item.quantity,
    item.delivered_quantity,
    case when item.is_rejected then 0 else greatest(item.quantity - item.delivered_quantity, 0) end as open_quantity,
    item.quantity_unit,
    item.amount,
    item.currency,
    cast(item.amount * company_rate.rate as decimal(18, 2)) as company_amount,
    '{{ var("company_currency") }}' as company_currency,
    item.delivery_status,
    item.is_rejected,
    coalesce(production.production_order_count, 0) as production_order_count,
    cast(coalesce(production.produced_quantity, 0) as decimal(18, 3)) as produced_quantity,
    {{ production_status(
        'production.production_order_count', 'production.started_count', 'production.finished_count'
    ) }} as production_status
from item
inner join sales_order
    on item.source_system = sales_order.source_system and item.sales_order_id = sales_order.sales_order_id
{{ join_currency_conversion(
    'company_rate', 'item.currency', "'" ~ var("company_currency") ~ "'", 'sales_order.ordered_on'
) }}
left join customer
    on sales_order.source_system = customer.source_system and sales_order.customer_id = customer.source_customer_id
left join production
    on
        item.source_system = production.source_system
        and item.sales_order_id = production.sales_order_id
        and item.sales_order_item_id = production.sales_order_item_id
left join delivery
    on
        item.source_system = delivery.source_system
        and item.sales_order_id = delivery.sales_order_id
        and item.sales_order_item_id = delivery.sales_order_item_id
-- a quotation binds nobody: nothing of it is ordered, open or late
where sales_order.status <> 'DRAFT'
