-- depends_on: {{ source('ops', 'active_decision') }}
{{ config(materialized='matched') }}

select
    source_system,
    source_key,
    customer_name as party_name,
    credit_code,
    erp_customer_id as erp_number,
    city,
    street,
    phone,
    email
from {{ ref('customer') }}
