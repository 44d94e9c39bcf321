-- depends_on: {{ source('ops', 'active_decision') }}
{{ config(materialized='matched') }}

select
    source_system,
    source_key,
    material_name,
    material_name_zh,
    gtin,
    base_unit,
    material_type,
    net_weight,
    weight_unit
from {{ ref('material') }}
