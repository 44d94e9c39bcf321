{# Made from standard/contracts/sales_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='sales_order') }}

select
    source_system,
    source_key,
    sales_order_id,
    sales_order_type,
    sales_organization_id,
    distribution_channel,
    customer_id,
    customer_order_number,
    ordered_on,
    requested_delivery_on,
    amount,
    currency,
    status,
    delivery_status,
    is_delivery_blocked,
    production_status,
    created_on,
    {{ mask_name('created_by') }} as created_by,
    changed_at,
    _datong_batch_id,
    _datong_ingested_at
from {{ ref('sales_order') }}
