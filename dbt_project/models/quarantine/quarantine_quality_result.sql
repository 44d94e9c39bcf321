{# Made from standard/contracts/quality_result.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='quality_result') }}

{{ quarantined('quality_result') }}
