{# Made from standard/contracts/operation_confirmation.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='operation_confirmation') }}

select
    source_system,
    source_key,
    event_id,
    production_order_id,
    operation_id,
    work_center_id,
    good_quantity,
    scrap_quantity,
    quantity_unit,
    machine_minutes,
    {{ mask_name('operator') }} as operator,
    confirmed_at,
    recorded_at,
    _datong_version,
    _datong_batch_id,
    _datong_ingested_at
from {{ ref('operation_confirmation') }}
