{# Made from standard/contracts/sales_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('sales_order') }}
