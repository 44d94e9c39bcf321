{# Made from standard/contracts/work_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('work_order') }}
