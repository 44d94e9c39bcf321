{{ config(alias='production_order_component') }}

{{ quarantined('production_order_component') }}
