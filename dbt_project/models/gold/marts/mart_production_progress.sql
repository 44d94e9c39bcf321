with production_order as (

    select * from {{ ref('fct_production_order') }}

),

material as (

    select * from {{ ref('int_material_of_system') }}

),

component as (

    select
        source_system,
        production_order_id,
        cast(count(*) as int) as component_count,
        sum(case when withdrawn_quantity >= required_quantity then 1 else 0 end) as complete_component_count
    from {{ ref('production_order_component') }}
    group by source_system, production_order_id

),

consumption as (

    select
        order_system,
        production_order_id,
        cast(count(*) as int) as consumption_count,
        cast(sum(case when is_posted then 0 else 1 end) as int) as unposted_consumption_count
    from {{ ref('fct_material_consumption') }}
    group by order_system, production_order_id

),

as_of as (

    select * from {{ ref('int_as_of') }}

)

select
    production_order.source_system,
    production_order.production_order_id,
    production_order.plant_id,
    production_order.material_id,
    material.material_name_zh,
    production_order.sales_order_id,
    production_order.sales_order_item_id,
    production_order.status,
    production_order.work_order_id,
    production_order.quantity,
    production_order.produced_quantity,
    production_order.scrapped_quantity,
    production_order.delivered_quantity,
    production_order.quantity_unit,
    cast(
        round(100 * least(production_order.produced_quantity / production_order.quantity, 1), 1) as decimal(5, 1)
    ) as completion_percent,
    cast(
        round(
            100 * production_order.produced_quantity
            / nullif(production_order.produced_quantity + production_order.scrapped_quantity, 0),
            1
        ) as decimal(5, 1)
    ) as yield_percent,
    production_order.operation_count,
    production_order.confirmed_operation_count,
    coalesce(component.component_count, 0) as component_count,
    cast(coalesce(component.complete_component_count, 0) as int) as complete_component_count,
    coalesce(consumption.consumption_count, 0) as consumption_count,
    coalesce(consumption.unposted_consumption_count, 0) as unposted_consumption_count,
    production_order.planned_start_on,
    production_order.planned_end_on,
    production_order.first_confirmed_at,
    production_order.last_confirmed_at,
    production_order.status not in ('COMPLETED', 'CLOSED', 'CANCELLED')
    and production_order.planned_end_on < as_of.as_of_on as is_late,
    as_of.as_of_on
from production_order
left join material
    on
        production_order.source_system = material.source_system
        and production_order.material_id = material.material_id
left join component
    on
        production_order.source_system = component.source_system
        and production_order.production_order_id = component.production_order_id
left join consumption
    on
        production_order.source_system = consumption.order_system
        and production_order.production_order_id = consumption.production_order_id
left join as_of on production_order.source_system = as_of.source_system
