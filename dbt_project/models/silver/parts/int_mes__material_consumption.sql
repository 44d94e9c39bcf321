{{ config(materialized='view') }}

with material_consumption as (

    {{ latest('stg_mes__material_consumption') }}

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
    from material_consumption

)

{{ conform__material_consumption('versioned', parents={'production_order': 'production_order'}) }}
