{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key=['source_system', 'source_key'],
    post_hook='drop view if exists {{ this.identifier }}__dbt_tmp',
) }}

{% set columns = [
    'source_system',
    'source_key',
    'event_id',
    'production_order_id',
    'material_id',
    'reservation_item_id',
    'quantity',
    'quantity_unit',
    'lot_id',
    'consumed_at',
    'recorded_at',
    '_datong_version',
] %}

with published as (
    {{ published('material_consumption', columns) }}
)

{{ changed_only('published', columns) }}
