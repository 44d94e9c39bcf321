{# Made from standard/contracts/sales_order_item.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='sales_order_item') }}

{{ quarantined('sales_order_item') }}
