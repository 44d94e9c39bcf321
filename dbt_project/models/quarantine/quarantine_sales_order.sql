{{ config(alias='sales_order') }}

{{ quarantined('sales_order') }}
