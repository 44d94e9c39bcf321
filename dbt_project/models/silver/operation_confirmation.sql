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
    'operation_id',
    'work_center_id',
    'good_quantity',
    'scrap_quantity',
    'quantity_unit',
    'machine_minutes',
    'operator',
    'confirmed_at',
    'recorded_at',
    '_datong_version',
] %}

with published as (
    {{ published('operation_confirmation', columns) }}
)

{{ changed_only('published', columns) }}
