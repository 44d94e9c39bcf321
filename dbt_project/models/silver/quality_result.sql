{# Made from standard/contracts/quality_result.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('quality_result') }}
