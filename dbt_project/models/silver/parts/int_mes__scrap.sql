{{ config(materialized='view') }}

with scrap as (

    {{ latest('stg_mes__scrap_record') }}

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
    from scrap

)

{{ conform__scrap('versioned', parents={'production_order': 'production_order'}) }}
