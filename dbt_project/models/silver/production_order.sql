{# Made from standard/contracts/production_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('production_order') }}
