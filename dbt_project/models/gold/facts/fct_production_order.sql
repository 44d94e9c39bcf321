with production_order as (

    select * from {{ ref('production_order') }}

),

work_order as (

    select *
    from (
        select
            *,
            row_number() over (partition by production_order_id order by updated_at desc, work_order_id asc) as _place
        from {{ ref('work_order') }}
    ) as placed
    where _place = 1

),

confirmation as (

    select * from {{ ref('operation_confirmation') }}

),

/* what the last operation yielded is finished; the routing of the ERP tells which one is the last */
last_operation as (

    select
        source_system,
        production_order_id,
        max(cast(operation_id as int)) as operation_number,
        cast(count(*) as int) as operation_count
    from {{ ref('production_order_operation') }}
    group by source_system, production_order_id

),

confirmed as (

    select
        confirmation.production_order_id,
        sum(
            case
                when cast(confirmation.operation_id as int) = last_operation.operation_number
                    then
                        confirmation.good_quantity
                        * case
                            when confirmation.quantity_unit = ordered.quantity_unit then 1
                            else conversion.factor
                        end
                else 0
            end
        ) as produced_quantity,
        min(confirmation.confirmed_at) as first_confirmed_at,
        max(confirmation.confirmed_at) as last_confirmed_at,
        cast(count(distinct confirmation.operation_id) as int) as confirmed_operation_count,
        sum(confirmation.machine_minutes) as machine_minutes
    from confirmation
    left join production_order as ordered
        on
            confirmation.production_order_id = ordered.production_order_id
            and ordered.source_system = '{{ var("shop_floor_erp") }}'
    {{ join_unit_conversion('conversion', 'confirmation.quantity_unit', 'ordered.quantity_unit') }}
    left join last_operation
        on
            confirmation.production_order_id = last_operation.production_order_id
            and last_operation.source_system = '{{ var("shop_floor_erp") }}'
    group by confirmation.production_order_id

),

scrapped as (

    select
        scrap.production_order_id,
        sum(
            scrap.quantity
            * case when scrap.quantity_unit = ordered.quantity_unit then 1 else conversion.factor end
        ) as scrapped_quantity
    from {{ ref('scrap') }} as scrap
    left join production_order as ordered
        on
            scrap.production_order_id = ordered.production_order_id
            and ordered.source_system = '{{ var("shop_floor_erp") }}'
    {{ join_unit_conversion('conversion', 'scrap.quantity_unit', 'ordered.quantity_unit') }}
    group by scrap.production_order_id

),

joined as (

    select
        production_order.source_system,
        production_order.production_order_id,
        production_order.production_order_type,
        production_order.plant_id,
        production_order.material_id,
        production_order.sales_order_id,
        production_order.sales_order_item_id,
        production_order.status as erp_status,
        work_order.status as work_order_status,
        work_order.work_order_id,
        production_order.quantity,
        -- where no shop floor reports, what was received into stock is what is known to be produced
        cast(
            case
                when production_order.source_system = '{{ var("shop_floor_erp") }}'
                    then coalesce(confirmed.produced_quantity, 0)
                else production_order.delivered_quantity
            end as decimal(18, 3)
        ) as produced_quantity,
        cast(coalesce(scrapped.scrapped_quantity, 0) as decimal(18, 3)) as scrapped_quantity,
        production_order.delivered_quantity,
        production_order.quantity_unit,
        last_operation.operation_count,
        coalesce(confirmed.confirmed_operation_count, 0) as confirmed_operation_count,
        cast(coalesce(confirmed.machine_minutes, 0) as decimal(18, 3)) as machine_minutes,
        production_order.planned_start_on,
        production_order.planned_end_on,
        confirmed.first_confirmed_at,
        confirmed.last_confirmed_at,
        production_order.changed_at
    from production_order
    left join last_operation
        on
            production_order.source_system = last_operation.source_system
            and production_order.production_order_id = last_operation.production_order_id
    left join work_order
        on
            production_order.production_order_id = work_order.production_order_id
            and production_order.source_system = '{{ var("shop_floor_erp") }}'
    left join confirmed
        on
            production_order.production_order_id = confirmed.production_order_id
            and production_order.source_system = '{{ var("shop_floor_erp") }}'
    left join scrapped
        on
            production_order.production_order_id = scrapped.production_order_id
            and production_order.source_system = '{{ var("shop_floor_erp") }}'

)

select
    *,
    case
        when erp_status in ('CLOSED', 'CANCELLED') then erp_status
        when
            erp_status = 'CONFIRMED' or work_order_status in ('COMPLETED', 'CLOSED') or produced_quantity >= quantity
            then 'COMPLETED'
        when
            erp_status = 'PARTIALLY_CONFIRMED' or work_order_status = 'RUNNING' or confirmed_operation_count > 0
            then 'IN_PRODUCTION'
        else erp_status
    end as status
from joined
