with quality_result as (

    {{ latest('stg_mes__quality_result') }}

),

production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

checked as (

    select
        quality_result.*,
        quality_result._datong_batch_id as _datong_version,
        {{ failures([
            required('event_id'),
            required('quality_result.production_order_id'),
            required('characteristic'),
            required('inspected_at'),
            known_code('result', 'source_result', 'quality_result'),
            refers_to('quality_result.production_order_id', 'production_order.production_order_id', 'production_order'),
        ]) }}
    from quality_result
    left join production_order on quality_result.production_order_id = production_order.production_order_id

)

select * from checked
