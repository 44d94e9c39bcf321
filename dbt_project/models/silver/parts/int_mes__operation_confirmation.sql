with operation_confirmation as (

    {{ latest('stg_mes__operation_confirmation') }}

),

production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

checked as (

    select
        operation_confirmation.*,
        operation_confirmation._datong_batch_id as _datong_version,
        {{ failures([
            required('event_id'),
            required('operation_confirmation.production_order_id'),
            required('operation_id'),
            required('confirmed_at'),
            required('good_quantity'),
            not_negative('good_quantity'),
            not_negative('scrap_quantity'),
            known_code('operation_confirmation.quantity_unit', 'operation_confirmation.source_quantity_unit', 'unit'),
            refers_to('operation_confirmation.production_order_id', 'production_order.production_order_id', 'production_order'),
        ]) }}
    from operation_confirmation
    left join production_order on operation_confirmation.production_order_id = production_order.production_order_id

)

select * from checked
