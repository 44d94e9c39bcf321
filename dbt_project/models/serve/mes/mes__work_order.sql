with production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}' and status <> 'CREATED'

),

work_order as (

    select
        production_order_id,
        min(work_order_id) as mes_work_order_no
    from {{ ref('work_order') }}
    group by production_order_id

),

mes_unit as (

    select *
    from {{ ref('crosswalk_mes') }}
    where code_set = 'unit' and is_preferred

)

select
    production_order.production_order_id as order_no,
    production_order.material_id as part_no,
    production_order.quantity,
    mes_unit.source_code as unit,
    '已下达' as status,
    {{ plant_midnight('production_order.planned_start_on') }} as planned_start_at,
    {{ plant_midnight('production_order.planned_end_on') }} as planned_end_at,
    work_order.mes_work_order_no is null
    and production_order.status in ('RELEASED', 'PARTIALLY_CONFIRMED') as is_pending,
    work_order.mes_work_order_no,
    production_order.source_system,
    production_order.production_order_id
from production_order
left join work_order on production_order.production_order_id = work_order.production_order_id
left join mes_unit on production_order.quantity_unit = mes_unit.code
