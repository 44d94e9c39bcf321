{{ config(alias='supplier') }}

{{ quarantined('supplier') }}
