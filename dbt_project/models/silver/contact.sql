{# Made from standard/contracts/contact.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{{ conformed('contact') }}
