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
    'characteristic',
    'measured_value',
    'lower_limit',
    'upper_limit',
    'measured_unit',
    'result',
    'inspected_at',
    'recorded_at',
    '_datong_version',
] %}

with published as (
    {{ published('quality_result', columns) }}
)

{{ changed_only('published', columns) }}
