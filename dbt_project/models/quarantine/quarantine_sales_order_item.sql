{{ config(alias='sales_order_item') }}

{{ quarantined('sales_order_item') }}
