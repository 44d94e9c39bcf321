{# Made from standard/contracts/material.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('material') }}
