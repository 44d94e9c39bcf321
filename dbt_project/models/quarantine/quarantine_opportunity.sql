{# Made from standard/contracts/opportunity.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='opportunity') }}

{{ quarantined('opportunity') }}
