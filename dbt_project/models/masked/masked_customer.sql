{# Made from standard/contracts/customer.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='customer') }}

select
    source_system,
    source_key,
    customer_id,
    customer_name,
    name_key,
    customer_group,
    credit_code,
    country_code,
    city,
    street,
    postal_code,
    {{ mask_phone('phone') }} as phone,
    {{ mask_email('email') }} as email,
    erp_customer_id,
    is_blocked,
    created_on,
    changed_at,
    _datong_batch_id,
    _datong_ingested_at
from {{ ref('customer') }}
