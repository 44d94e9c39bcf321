with scrap as (

    {{ latest('stg_mes__scrap_record') }}

),

production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

checked as (

    select
        scrap.*,
        scrap._datong_batch_id as _datong_version,
        {{ failures([
            required('event_id'),
            required('scrap.production_order_id'),
            required('scrapped_at'),
            positive('scrap.quantity'),
            known_code('scrap.quantity_unit', 'scrap.source_quantity_unit', 'unit'),
            refers_to('scrap.production_order_id', 'production_order.production_order_id', 'production_order'),
        ]) }}
    from scrap
    left join production_order on scrap.production_order_id = production_order.production_order_id

)

select * from checked
