with movement as (

    select * from {{ ref('material_movement') }}

),

material as (

    select * from {{ ref('material') }}

)

select
    movement.source_system,
    movement.source_key as material_movement_id,
    movement.posted_on,
    movement.movement_type,
    movement.direction,
    movement.plant_id,
    movement.storage_location_id,
    movement.material_id,
    movement.quantity,
    movement.signed_quantity,
    movement.quantity_unit,
    cast(movement.signed_quantity * material.standard_price as decimal(18, 2)) as signed_amount,
    material.currency,
    movement.production_order_id,
    movement.sales_order_id,
    movement.sales_order_item_id,
    movement.reference_document
from movement
left join material
    on movement.source_system = material.source_system and movement.material_id = material.material_id
