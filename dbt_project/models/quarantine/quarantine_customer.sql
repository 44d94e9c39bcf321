{# Made from standard/contracts/customer.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='customer') }}

{{ quarantined('customer') }}
