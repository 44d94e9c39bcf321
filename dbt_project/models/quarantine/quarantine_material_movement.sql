{{ config(alias='material_movement') }}

{{ quarantined('material_movement') }}
