{{ config(alias='operation_confirmation') }}

{{ quarantined('operation_confirmation') }}
