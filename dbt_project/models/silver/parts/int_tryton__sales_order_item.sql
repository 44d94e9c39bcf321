{{ config(enabled='tryton' in var('systems')) }}

with latest_sale_line as (

    {{ latest('stg_tryton__sale_line') }}

),

sale_line as (

    select * from latest_sale_line
    where line_type = 'line'

),

sale as (

    {{ latest('stg_tryton__sale') }}

),

product as (

    select * from {{ ref('int_tryton__product') }}

),

unit as (

    {{ latest('stg_tryton__uom') }}

),

currency as (

    {{ latest('stg_tryton__currency') }}

),

location as (

    select * from {{ ref('int_tryton__location') }}

),

move as (

    {{ latest('stg_tryton__stock_move') }}

),

delivered as (

    select
        move.sale_line_id,
        sum(
            move.base_quantity
            * case when target.location_type = 'customer' then 1 when source.location_type = 'customer' then -1 end
        ) as base_quantity
    from move
    inner join location as source on move.from_location_id = source.location_id
    inner join location as target on move.to_location_id = target.location_id
    where move.source_status = 'done'
    group by move.sale_line_id

),

priced as (

    select
        sale_line.*,
        cast(sale_line.quantity * sale_line.unit_price / currency.rounding as decimal(38, 7)) as steps,
        currency.rounding,
        currency.currency,
        currency.source_currency
    from sale_line
    left join sale on sale_line.sale_id = sale.sale_id
    left join currency on sale.currency_id = currency.currency_id

),

joined as (

    select
        sale_line.source_system,
        sale_line.source_key,
        sale_line.sale_id,
        coalesce(sale.number, concat('(', sale_line.sale_id, ')')) as sales_order_id,
        sale_line.sale_line_id as sales_order_item_id,
        product.material_id,
        coalesce(sale_line.description, product.material_name) as item_text,
        warehouse.plant_id,
        cast(null as string) as storage_location_id,
        sale_line.quantity,
        cast(
            coalesce(delivered.base_quantity * product.base_factor / unit.factor, 0) as decimal(15, 3)
        ) as delivered_quantity,
        unit.unit as quantity_unit,
        unit.source_unit as source_quantity_unit,
        -- rounded as Tryton does, half to even and to the currency's own step; Sail has no bround of decimals
        cast(
            (
                floor(sale_line.steps)
                + case
                    when sale_line.steps - floor(sale_line.steps) > 0.5 then 1
                    when sale_line.steps - floor(sale_line.steps) = 0.5 then abs(floor(sale_line.steps)) % 2
                    else 0
                end
            ) * sale_line.rounding as decimal(18, 3)
        ) as amount,
        sale_line.currency,
        sale_line.source_currency,
        sale.status,
        sale.source_status,
        sale.source_status = 'cancelled' as is_rejected,
        case when sale.source_status = 'cancelled' then 'cancelled' end as rejection_reason,
        sale_line._datong_batch_id,
        sale_line._datong_ingested_at,
        sale_line.source_row
    from priced as sale_line
    left join sale on sale_line.sale_id = sale.sale_id
    left join product on sale_line.product_id = product.product_id
    left join unit on sale_line.unit_id = unit.unit_id
    left join location as warehouse on sale.warehouse_id = warehouse.location_id
    left join delivered on sale_line.sale_line_id = delivered.sale_line_id

),

delivered_so_far as (

    select
        *,
        case
            when delivered_quantity >= quantity then 'COMPLETE'
            when delivered_quantity > 0 then 'IN_PROCESS'
            else 'OPEN'
        end as delivery_status
    from joined

),

numbered_sale as (

    select coalesce(number, concat('(', sale_id, ')')) as sales_order_id
    from sale

)

{{ conform__sales_order_item(
    'delivered_so_far',
    parents={'sales_order': 'numbered_sale', 'material': 'product'},
    computed=['delivery_status'],
    carry=['sale_id'],
) }}
