{# Made from standard/contracts/material_consumption.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='material_consumption') }}

{{ quarantined('material_consumption') }}
