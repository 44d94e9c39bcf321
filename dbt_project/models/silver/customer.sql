{# Made from standard/contracts/customer.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('customer') }}
