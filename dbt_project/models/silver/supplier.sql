{# Made from standard/contracts/supplier.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('supplier') }}
