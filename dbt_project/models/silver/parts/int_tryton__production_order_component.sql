{{ config(enabled='tryton' in var('systems')) }}

with latest_move as (

    {{ latest('stg_tryton__stock_move') }}

),

move as (

    select * from latest_move
    where consuming_production_id is not null

),

production as (

    select * from {{ ref('int_tryton__production_order') }}

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

joined as (

    select
        move.source_system,
        move.source_key,
        coalesce(production.production_order_id, concat('(', move.consuming_production_id, ')')) as production_order_id,
        -- the move that will consume is the reservation itself
        move.consuming_production_id as reservation_id,
        move.move_id as reservation_item_id,
        move.consuming_production_id as source_reservation,
        move.move_id as source_reservation_item,
        product.material_id,
        location.plant_id,
        location.storage_location_id,
        move.quantity as required_quantity,
        case when move.source_status = 'done' then move.quantity else 0 end as withdrawn_quantity,
        unit.unit as quantity_unit,
        unit.source_unit as source_quantity_unit,
        move.changed_at,
        move._datong_batch_id,
        move._datong_ingested_at,
        move.source_row
    from move
    left join production on move.consuming_production_id = production.production_id
    left join product on move.product_id = product.product_id
    left join unit on move.unit_id = unit.unit_id
    left join location on move.from_location_id = location.location_id

)

{{ conform__production_order_component(
    'joined',
    parents={'production_order': 'production', 'material': 'product'},
) }}
