with production_order_operation as (

    {{ latest('stg_erp__production_order_operation') }}

),

production_order as (

    {{ latest('stg_erp__production_order') }}

)

{{ conform__production_order_operation(
    'production_order_operation',
    parents={'production_order': 'production_order'},
) }}
