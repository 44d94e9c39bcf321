{# Made from standard/contracts/scrap.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='scrap') }}

{{ quarantined('scrap') }}
