{# Made from standard/contracts/bill_of_material_item.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='bill_of_material_item') }}

{{ quarantined('bill_of_material_item') }}
