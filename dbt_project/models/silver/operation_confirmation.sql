{# Made from standard/contracts/operation_confirmation.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('operation_confirmation') }}
