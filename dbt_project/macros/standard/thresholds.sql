{# Made from standard/contracts/ by `datong standard compile`: edit that file, not this one. #}

{% macro thresholds_of(entity) -%}
    {#- The rules that may be broken by a share of an entity's rows only, and what happens above it. -#}
    {{ return({
        'material_consumption': [
            {"check": "quantity_unit.known_unit", "hold_above": 0.5, "stop_above": 1},
        ],
        'sales_order_item': [
            {"check": "quantity_unit.known_unit", "hold_above": 0.5, "stop_above": 1},
        ],
    }.get(entity, [])) }}
{%- endmacro %}
