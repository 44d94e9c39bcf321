with production_order_component as (

    {{ latest('stg_erp__production_order_component') }}

),

production_order as (

    {{ latest('stg_erp__production_order') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        production_order_component.*,
        {{ failures([
            required('production_order_component.production_order_id'),
            required('reservation_id'),
            required('reservation_item_id'),
            required('required_quantity'),
            not_negative('required_quantity'),
            known_code('production_order_component.quantity_unit', 'production_order_component.source_quantity_unit', 'unit'),
            refers_to('production_order_component.production_order_id', 'production_order.production_order_id', 'production_order'),
            refers_to('production_order_component.material_id', 'material.material_id', 'material'),
        ]) }}
    from production_order_component
    left join production_order on production_order_component.production_order_id = production_order.production_order_id
    left join material on production_order_component.material_id = material.material_id

)

select * from checked
