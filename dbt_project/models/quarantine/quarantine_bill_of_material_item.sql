{{ config(alias='bill_of_material_item') }}

{{ quarantined('bill_of_material_item') }}
