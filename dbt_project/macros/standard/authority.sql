{# Made from standard/authority.yaml by `datong standard compile`. -#}

{% macro authority(entity) -%}
    {{ return({
        'customer': {"*": ["erp", "tryton", "crm"], "phone": ["crm", "erp", "tryton"]},
        'supplier': {"*": ["erp", "tryton"]},
        'material': {"*": ["erp", "tryton", "mes"]}
    }[entity]) }}
{%- endmacro %}
