-- depends_on: {{ source('ops', 'active_decision') }}
{{ config(materialized='matched') }}

select
    source_system,
    source_key,
    supplier_name as party_name,
    credit_code,
    city,
    street,
    phone
from {{ ref('supplier') }}
