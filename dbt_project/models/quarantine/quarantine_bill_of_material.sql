{{ config(alias='bill_of_material') }}

{{ quarantined('bill_of_material') }}
