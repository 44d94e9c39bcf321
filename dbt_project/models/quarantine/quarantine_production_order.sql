{# Made from standard/contracts/production_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='production_order') }}

{{ quarantined('production_order') }}
