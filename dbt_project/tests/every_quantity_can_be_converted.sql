{{ config(severity='warn') }}

/* a quantity whose unit cannot be brought into that of its order or material is missing from a sum in silence */
with reported as (

    select
        'operation_confirmation' as entity,
        source_key,
        production_order_id,
        quantity_unit
    from {{ ref('operation_confirmation') }}
    where good_quantity <> 0
    union all
    select
        'scrap' as entity,
        source_key,
        production_order_id,
        quantity_unit
    from {{ ref('scrap') }}
    where quantity <> 0

),

ordered as (

    select
        production_order_id,
        quantity_unit
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

)

select
    reported.entity,
    reported.source_key,
    reported.quantity_unit as from_unit,
    ordered.quantity_unit as to_unit
from reported
inner join ordered on reported.production_order_id = ordered.production_order_id
{{ join_unit_conversion('conversion', 'reported.quantity_unit', 'ordered.quantity_unit') }}
where reported.quantity_unit <> ordered.quantity_unit and conversion.factor is null
union all
select
    'material_consumption' as entity,
    event_id as source_key,
    quantity_unit as from_unit,
    base_unit as to_unit
from {{ ref('fct_material_consumption') }}
where quantity is not null and base_unit is not null and base_quantity is null
