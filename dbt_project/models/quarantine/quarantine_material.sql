{{ config(alias='material') }}

{{ quarantined('material') }}
