{{ config(alias='material_consumption') }}

{{ quarantined('material_consumption') }}
