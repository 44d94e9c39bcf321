{# Made from standard/contracts/production_order_component.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='production_order_component') }}

{{ quarantined('production_order_component') }}
