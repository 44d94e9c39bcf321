{# Made from standard/contracts/supplier.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='supplier') }}

select
    source_system,
    source_key,
    supplier_id,
    supplier_name,
    credit_code,
    country_code,
    city,
    street,
    postal_code,
    {{ mask_phone('phone') }} as phone,
    is_blocked,
    created_on,
    _datong_batch_id,
    _datong_ingested_at
from {{ ref('supplier') }}
