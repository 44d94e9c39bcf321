{{ config(alias='production_order_operation') }}

{{ quarantined('production_order_operation') }}
