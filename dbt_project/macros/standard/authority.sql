{# Made from standard/authority.yaml by `datong standard compile`. -#}

{% macro authority(entity) -%}
    {{ return({
        'customer': {"*": ["erp", "tryton", "crm"], "phone": ["crm", "erp", "tryton"]},
        'supplier': {"*": ["erp", "tryton"]},
        'material': {"*": ["erp", "tryton", "mes"]},
        'production_order': {"*": ["erp", "mes"], "planned_end_on": ["mes", "erp"]},
        'sales_order': {"*": ["erp", "crm"], "production_status": ["mes", "erp"]}
    }[entity]) }}
{%- endmacro %}
