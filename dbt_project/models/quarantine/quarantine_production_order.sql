{{ config(alias='production_order') }}

{{ quarantined('production_order') }}
