with production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

work_order as (

    select
        production_order_id,
        count(*) as work_order_count,
        min(source_key) as source_key,
        min(status) as status,
        min(planned_start_at) as planned_start_at,
        min(planned_end_at) as planned_end_at,
        min(_datong_batch_id) as batch_id
    from {{ ref('work_order') }}
    group by production_order_id

)

select
    production_order.production_order_id as order_no,
    production_order.source_key as erp_key,
    production_order.planned_start_on as erp_planned_start_on,
    production_order.planned_end_on as erp_planned_end_on,
    production_order._datong_batch_id as erp_batch_id,
    work_order.source_key as mes_key,
    {{ plant_day('work_order.planned_start_at') }} as mes_planned_start_on,
    {{ plant_day('work_order.planned_end_at') }} as mes_planned_end_on,
    work_order.batch_id as mes_batch_id,
    work_order.work_order_count = 1
    and work_order.status in ('RELEASED', 'RUNNING')
    and production_order.status not in ('CONFIRMED', 'CLOSED', 'CANCELLED') as is_open
from production_order
inner join work_order on production_order.production_order_id = work_order.production_order_id
