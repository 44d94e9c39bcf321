{# Made from standard/contracts/sales_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='sales_order') }}

{{ quarantined('sales_order') }}
