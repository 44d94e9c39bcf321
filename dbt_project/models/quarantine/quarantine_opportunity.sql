{{ config(alias='opportunity') }}

{{ quarantined('opportunity') }}
