{# Made from standard/contracts/inventory_balance.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='inventory_balance') }}

{{ quarantined('inventory_balance') }}
