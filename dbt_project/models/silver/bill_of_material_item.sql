{# Made from standard/contracts/bill_of_material_item.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('bill_of_material_item') }}
