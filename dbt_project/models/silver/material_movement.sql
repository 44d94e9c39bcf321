{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key=['source_system', 'source_key'],
    post_hook='drop view if exists {{ this.identifier }}__dbt_tmp',
) }}

{% set columns = [
    'source_system',
    'source_key',
    'material_document_year',
    'material_document_id',
    'material_document_item_id',
    'posted_on',
    'document_on',
    'movement_type',
    'direction',
    'material_id',
    'plant_id',
    'storage_location_id',
    'quantity',
    'signed_quantity',
    'quantity_unit',
    'production_order_id',
    'sales_order_id',
    'sales_order_item_id',
    'reservation_id',
    'reservation_item_id',
    'reference_document',
    'header_text',
    'item_text',
    'created_by',
    'created_on',
    '_datong_version',
] %}

with published as (
    {{ published('material_movement', columns) }}
)

{{ changed_only('published', columns) }}
