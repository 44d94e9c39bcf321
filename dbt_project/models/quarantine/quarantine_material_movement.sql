{# Made from standard/contracts/material_movement.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='material_movement') }}

{{ quarantined('material_movement') }}
