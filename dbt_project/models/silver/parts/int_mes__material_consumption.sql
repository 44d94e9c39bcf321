with material_consumption as (

    {{ latest('stg_mes__material_consumption') }}

),

production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

checked as (

    select
        material_consumption.*,
        material_consumption._datong_batch_id as _datong_version,
        {{ failures([
            required('event_id'),
            required('material_consumption.production_order_id'),
            required('material_consumption.material_id'),
            required('consumed_at'),
            positive('material_consumption.quantity'),
            known_code('material_consumption.quantity_unit', 'material_consumption.source_quantity_unit', 'unit'),
            refers_to('material_consumption.production_order_id', 'production_order.production_order_id', 'production_order'),
        ]) }}
    from material_consumption
    left join production_order on material_consumption.production_order_id = production_order.production_order_id

)

select * from checked
