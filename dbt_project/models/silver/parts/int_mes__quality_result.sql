{{ config(materialized='view') }}

with quality_result as (

    {{ latest('stg_mes__quality_result') }}

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
    from quality_result

)

{{ conform__quality_result('versioned', parents={'production_order': 'production_order'}) }}
