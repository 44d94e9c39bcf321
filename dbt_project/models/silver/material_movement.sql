{# Made from standard/contracts/material_movement.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('material_movement') }}
