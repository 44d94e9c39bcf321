with production_order as (

    {{ latest('stg_erp__production_order') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        production_order.*,
        {{ failures([
            required('production_order_id'),
            required('production_order.material_id'),
            positive('quantity'),
            known_code('quantity_unit', 'source_quantity_unit', 'unit'),
            refers_to('production_order.material_id', 'material.material_id', 'material'),
        ]) }}
    from production_order
    left join material on production_order.material_id = material.material_id

)

select * from checked
