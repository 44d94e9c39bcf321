{{ config(enabled='tryton' in var('systems')) }}

with production as (

    {{ latest('stg_tryton__production') }}

),

product as (

    select * from {{ ref('int_tryton__product') }}

),

unit as (

    {{ latest('stg_tryton__uom') }}

),

location as (

    select * from {{ ref('int_tryton__location') }}

),

move as (

    {{ latest('stg_tryton__stock_move') }}

),

delivered as (

    select
        yielding_production_id,
        product_id,
        sum(base_quantity) as base_quantity
    from move
    where source_status = 'done' and yielding_production_id is not null
    group by yielding_production_id, product_id

),

joined as (

    select
        production.source_system,
        production.source_key,
        production.production_id,
        -- a production has no number before it waits; Tryton shows its id in brackets until then
        coalesce(production.number, concat('(', production.production_id, ')')) as production_order_id,
        production.production_order_type,
        product.material_id,
        warehouse.plant_id,
        production.quantity,
        cast(
            coalesce(delivered.base_quantity * product.base_factor / unit.factor, 0) as decimal(15, 3)
        ) as delivered_quantity,
        unit.unit as quantity_unit,
        unit.source_unit as source_quantity_unit,
        production.planned_start_on,
        production.planned_end_on,
        production.actual_start_on,
        case when production.source_status = 'done' then production.actual_end_on end as actual_end_on,
        cast(null as string) as sales_order_id,
        cast(null as string) as sales_order_item_id,
        production.status,
        production.source_status,
        production.changed_at,
        production._datong_batch_id,
        production._datong_ingested_at,
        production.source_row
    from production
    left join product on production.product_id = product.product_id
    left join unit on production.unit_id = unit.unit_id
    left join location as warehouse on production.warehouse_id = warehouse.location_id
    left join delivered
        on
            production.production_id = delivered.yielding_production_id
            and production.product_id = delivered.product_id

)

{{ conform__production_order('joined', parents={'material': 'product'}, carry=['production_id']) }}
