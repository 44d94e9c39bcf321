with consumption as (

    select * from {{ ref('material_consumption') }}

),

production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

component as (

    select *
    from {{ ref('production_order_component') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

material as (

    select *
    from {{ ref('material') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

/* the ERP's documents that name an event; a reversed one does not count */
posted as (

    select
        reference_document,
        min(concat_ws('/', material_document_year, material_document_id)) as material_document,
        min(posted_on) as posted_on
    from {{ ref('material_movement') }}
    where
        source_system = '{{ var("shop_floor_erp") }}'
        and movement_type in ('PRODUCTION_ISSUE', 'PRODUCTION_ISSUE_REVERSAL')
        and reference_document is not null
    group by reference_document
    having sum(case when movement_type = 'PRODUCTION_ISSUE' then 1 else -1 end) > 0

)

select
    consumption.source_system,
    consumption.event_id,
    production_order.source_system as order_system,
    consumption.production_order_id,
    consumption.material_id,
    coalesce(component.plant_id, production_order.plant_id) as plant_id,
    component.storage_location_id,
    component.reservation_id,
    component.reservation_item_id,
    consumption.quantity,
    consumption.quantity_unit,
    cast(
        consumption.quantity
        * case
            when consumption.quantity_unit = material.base_unit then 1
            else coalesce(own_conversion.factor, conversion.factor)
        end as decimal(18, 3)
    ) as base_quantity,
    material.base_unit,
    consumption.lot_id,
    consumption.consumed_at,
    {{ plant_day('consumption.consumed_at') }} as consumed_on,
    consumption.recorded_at,
    posted.material_document is not null as is_posted,
    posted.material_document,
    posted.posted_on
from consumption
inner join production_order on consumption.production_order_id = production_order.production_order_id
left join component
    on
        consumption.production_order_id = component.production_order_id
        and consumption.reservation_item_id = component.reservation_item_id
        and consumption.material_id = component.material_id
left join material on consumption.material_id = material.material_id
{{ join_unit_conversion('conversion', 'consumption.quantity_unit', 'material.base_unit') }}
{{ join_material_unit_conversion('own_conversion', 'material', 'consumption.quantity_unit', 'material.base_unit') }}
left join posted on consumption.event_id = posted.reference_document
