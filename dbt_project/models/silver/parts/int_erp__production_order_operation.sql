with production_order_operation as (

    {{ latest('stg_erp__production_order_operation') }}

),

production_order as (

    {{ latest('stg_erp__production_order') }}

),

checked as (

    select
        production_order_operation.*,
        {{ failures([
            required('production_order_operation.production_order_id'),
            required('operation_id'),
            not_negative('production_order_operation.quantity'),
            known_code('production_order_operation.quantity_unit', 'production_order_operation.source_quantity_unit', 'unit'),
            refers_to('production_order_operation.production_order_id', 'production_order.production_order_id', 'production_order'),
        ]) }}
    from production_order_operation
    left join production_order on production_order_operation.production_order_id = production_order.production_order_id

)

select * from checked
