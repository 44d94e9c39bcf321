with production_order_component as (

    {{ latest('stg_erp__production_order_component') }}

),

production_order as (

    {{ latest('stg_erp__production_order') }}

),

material as (

    {{ latest('stg_erp__product') }}

)

{{ conform__production_order_component(
    'production_order_component',
    parents={'production_order': 'production_order', 'material': 'material'},
) }}
