{# Made from standard/contracts/material.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='material') }}

{{ quarantined('material') }}
