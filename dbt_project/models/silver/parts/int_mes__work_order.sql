with work_order as (

    {{ latest('stg_mes__work_order') }}

),

checked as (

    select
        work_order.*,
        {{ failures([
            required('work_order_id'),
            required('production_order_id'),
            positive('quantity'),
            known_code('quantity_unit', 'source_quantity_unit', 'unit'),
            known_code('status', 'source_status', 'work_order_status'),
        ]) }}
    from work_order

)

select * from checked
