with erp_unit as (

    select *
    from {{ ref('crosswalk_erp') }}
    where code_set = 'unit' and is_preferred

),

/* in the unit as reported where the ERP has a code for it, else in the material's base unit */
consumption as (

    select
        reported.*,
        coalesce(erp_unit.code, reported.base_unit) as entered_unit
    from {{ ref('fct_material_consumption') }} as reported
    left join erp_unit on reported.quantity_unit = erp_unit.code
    where reported.order_system = '{{ var("shop_floor_erp") }}'

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

/* where a material lies that no reservation tells of: where most of it is */
stock_place as (

    select
        material_id,
        plant_id,
        max_by(storage_location_id, struct(quantity, storage_location_id)) as storage_location_id
    from {{ ref('inventory_balance') }}
    where source_system = '{{ var("shop_floor_erp") }}' and stock_type = 'UNRESTRICTED'
    group by material_id, plant_id

)

select
    consumption.event_id as reference_document,
    '03' as goods_movement_code,
    consumption.consumed_on as document_date,
    consumption.consumed_on as posting_date,
    concat('MES ', consumption.event_id) as header_text,
    '261' as goods_movement_type,
    material.source_key as material,
    consumption.plant_id as plant,
    coalesce(consumption.storage_location_id, stock_place.storage_location_id) as storage_location,
    production_order.source_key as manufacturing_order,
    component.source_reservation as reservation,
    component.source_reservation_item as reservation_item,
    cast(
        consumption.quantity
        * case
            when consumption.quantity_unit = consumption.entered_unit then 1
            else coalesce(own_conversion.factor, conversion.factor)
        end as decimal(15, 3)
    ) as quantity,
    erp_unit.source_code as entry_unit,
    consumption.consumed_at,
    not consumption.is_posted as is_pending,
    consumption.material_document,
    production_order.source_system
from consumption
inner join production_order on consumption.production_order_id = production_order.production_order_id
inner join material on consumption.material_id = material.material_id
left join component
    on
        consumption.reservation_id = component.reservation_id
        and consumption.reservation_item_id = component.reservation_item_id
left join stock_place
    on consumption.material_id = stock_place.material_id and consumption.plant_id = stock_place.plant_id
{{ join_unit_conversion('conversion', 'consumption.quantity_unit', 'consumption.entered_unit') }}
{{ join_material_unit_conversion(
    'own_conversion', 'material', 'consumption.quantity_unit', 'consumption.entered_unit'
) }}
left join erp_unit on consumption.entered_unit = erp_unit.code
