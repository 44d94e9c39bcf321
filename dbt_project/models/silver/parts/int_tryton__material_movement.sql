{{ config(materialized='view') }}

{{ config(enabled='tryton' in var('systems')) }}

with latest_move as (

    {{ latest('stg_tryton__stock_move') }}

),

move as (

    select * from latest_move
    where source_status = 'done'

),

location as (

    select * from {{ ref('int_tryton__location') }}

),

product as (

    select * from {{ ref('int_tryton__product') }}

),

production as (

    select * from {{ ref('int_tryton__production_order') }}

),

sale_line as (

    select * from {{ ref('int_tryton__sales_order_item') }}

),

routed as (

    select
        move.*,
        concat(source.location_type, ' to ', target.location_type) as source_movement_type,
        source.is_stock as leaves_stock,
        source.plant_id as from_plant_id,
        source.storage_location_id as from_storage_location_id,
        target.is_stock as enters_stock,
        target.plant_id as to_plant_id,
        target.storage_location_id as to_storage_location_id,
        concat_ws('+', move._datong_batch_id, source._datong_batch_id, target._datong_batch_id) as _route_version
    from move
    left join location as source on move.from_location_id = source.location_id
    left join location as target on move.to_location_id = target.location_id

),

side as (

    -- one move is two items of a document, as in SAP: out of one place, into another. A side that is no stock of the
    -- company's (a customer, a supplier, the shop floor) is no item.
    select
        *,
        'OUT' as direction,
        from_plant_id as plant_id,
        from_storage_location_id as storage_location_id
    from routed
    where leaves_stock
    union all
    select
        *,
        'IN' as direction,
        to_plant_id as plant_id,
        to_storage_location_id as storage_location_id
    from routed
    where enters_stock

),

joined as (

    select
        side.source_system,
        concat_ws('/', side.source_key, side.direction) as source_key,
        cast(year(side.posted_on) as string) as material_document_year,
        side.move_id as material_document_id,
        side.direction as material_document_item_id,
        side.posted_on,
        side.posted_on as document_on,
        movement_type.code as movement_type,
        side.source_movement_type,
        side.direction,
        product.product_id,
        product.material_id,
        side.plant_id,
        side.storage_location_id,
        side.base_quantity as quantity,
        cast(
            side.base_quantity * case when side.direction = 'OUT' then -1 else 1 end as decimal(15, 3)
        ) as signed_quantity,
        product.base_unit as quantity_unit,
        product.source_base_unit as source_quantity_unit,
        production.production_order_id,
        sale_line.sales_order_id,
        sale_line.sales_order_item_id,
        side.consuming_production_id as reservation_id,
        case when side.consuming_production_id is not null then side.move_id end as reservation_item_id,
        side.shipment as reference_document,
        cast(null as string) as header_text,
        cast(null as string) as item_text,
        side.created_by,
        side.created_on,
        concat_ws(
            '+', side._route_version, product._datong_batch_id, production._datong_batch_id, sale_line._datong_batch_id
        ) as _datong_version,
        side._datong_batch_id,
        side._datong_ingested_at,
        side.source_row
    from side
    left join product on side.product_id = product.product_id
    left join production
        on coalesce(side.consuming_production_id, side.yielding_production_id) = production.production_id
    left join sale_line on side.sale_line_id = sale_line.sales_order_item_id
    {{ crosswalk('tryton', 'movement_type', 'side.source_movement_type', 'movement_type') }}

)

{{ conform__material_movement(
    'joined',
    parents={'material': 'product', 'material_document': none},
    computed=['direction'],
    carry=['product_id'],
) }}
