with item as (

    select * from {{ ref('fct_sales_order_item') }}

),

customer as (

    select * from {{ ref('dim_customer') }}

),

material as (

    select * from {{ ref('int_material_of_system') }}

),

as_of as (

    select * from {{ ref('int_as_of') }}

)

select
    item.source_system,
    item.sales_order_id,
    item.sales_order_item_id,
    item.customer_id,
    customer.customer_name,
    item.plant_id,
    item.material_id,
    material.material_name_zh,
    item.ordered_on,
    item.requested_delivery_on,
    item.last_delivered_on,
    item.quantity,
    item.produced_quantity,
    item.delivered_quantity,
    cast(item.open_quantity as decimal(18, 3)) as open_quantity,
    item.quantity_unit,
    item.amount,
    item.currency,
    item.production_status,
    item.delivery_status,
    item.is_rejected,
    -- what nobody wanted by a day is never late
    coalesce(
        case
            when item.is_rejected then false
            when item.open_quantity > 0 then item.requested_delivery_on < as_of.as_of_on
            else item.last_delivered_on > item.requested_delivery_on
        end,
        false
    ) as is_late,
    cast(
        case
            when item.is_rejected then 0
            when item.open_quantity > 0 then greatest(datediff(as_of.as_of_on, item.requested_delivery_on), 0)
            else greatest(datediff(item.last_delivered_on, item.requested_delivery_on), 0)
        end as int
    ) as days_late,
    as_of.as_of_on
from item
left join customer on item.customer_id = customer.customer_id
left join material
    on item.source_system = material.source_system and item.material_id = material.material_id
left join as_of on item.source_system = as_of.source_system
