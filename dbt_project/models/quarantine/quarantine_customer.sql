{{ config(alias='customer') }}

{{ quarantined('customer') }}
