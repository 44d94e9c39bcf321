{# Made from standard/contracts/material_movement.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='material_movement') }}

select
    source_system,
    source_key,
    material_document_year,
    material_document_id,
    material_document_item_id,
    posted_on,
    document_on,
    movement_type,
    direction,
    material_id,
    plant_id,
    storage_location_id,
    quantity,
    signed_quantity,
    quantity_unit,
    production_order_id,
    sales_order_id,
    sales_order_item_id,
    reservation_id,
    reservation_item_id,
    reference_document,
    header_text,
    item_text,
    {{ mask_name('created_by') }} as created_by,
    created_on,
    _datong_version,
    _datong_batch_id,
    _datong_ingested_at
from {{ ref('material_movement') }}
