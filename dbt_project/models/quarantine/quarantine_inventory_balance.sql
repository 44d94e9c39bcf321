{{ config(alias='inventory_balance') }}

{{ quarantined('inventory_balance') }}
