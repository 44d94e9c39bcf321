{# Made from standard/contracts/work_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ config(alias='work_order') }}

{{ quarantined('work_order') }}
