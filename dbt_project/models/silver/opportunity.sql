{# Made from standard/contracts/opportunity.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('opportunity') }}
