with sales_order as (

    select *
    from {{ ref('sales_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

production as (

    select
        sales_order_id,
        count(*) as production_order_count,
        sum(case when status in ('IN_PRODUCTION', 'COMPLETED', 'CLOSED') then 1 else 0 end) as started_count,
        sum(case when status in ('COMPLETED', 'CLOSED') then 1 else 0 end) as finished_count
    from {{ ref('fct_production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}' and sales_order_id is not null
    group by sales_order_id

),

wanted as (

    select
        sales_order.source_key as sales_order,
        {{ production_status(
            'production.production_order_count', 'production.started_count', 'production.finished_count'
        ) }} as production_status,
        coalesce(sales_order.production_status, '') as current_production_status,
        sales_order.changed_at,
        sales_order.source_system
    from sales_order
    inner join production on sales_order.sales_order_id = production.sales_order_id

)

select
    sales_order,
    production_status,
    current_production_status,
    production_status <> current_production_status as is_pending,
    changed_at,
    source_system
from wanted
