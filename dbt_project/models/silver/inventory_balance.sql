{# Made from standard/contracts/inventory_balance.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('inventory_balance') }}
