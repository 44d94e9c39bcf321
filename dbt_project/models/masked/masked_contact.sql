{# Made from standard/contracts/contact.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='contact') }}

select
    source_system,
    source_key,
    contact_id,
    customer_id,
    {{ mask_name('full_name') }} as full_name,
    {{ mask_phone('phone') }} as phone,
    {{ mask_phone('mobile') }} as mobile,
    {{ mask_email('email') }} as email,
    changed_at,
    _datong_batch_id,
    _datong_ingested_at
from {{ ref('contact') }}
