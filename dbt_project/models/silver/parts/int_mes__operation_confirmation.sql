{{ config(materialized='view') }}

with operation_confirmation as (

    {{ latest('stg_mes__operation_confirmation') }}

),

production_order as (

    select *
    from {{ ref('production_order') }}
    where source_system = '{{ var("shop_floor_erp") }}'

),

versioned as (

    select
        *,
        _datong_batch_id as _datong_version
    from operation_confirmation

)

{{ conform__operation_confirmation('versioned', parents={'production_order': 'production_order'}) }}
