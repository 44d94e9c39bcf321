{# Made from standard/contracts/production_order_operation.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('production_order_operation') }}
