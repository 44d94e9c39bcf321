{# Made from standard/contracts/ by `datong standard compile`: edit that file, not this one. #}

{% macro conform__bill_of_material(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__bill_of_material_item(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__contact(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__customer(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__inventory_balance(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__material(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__material_consumption(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__material_movement(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__operation_confirmation(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__opportunity(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__production_order(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__production_order_component(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__production_order_operation(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__quality_result(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__sales_order(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__sales_order_item(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__scrap(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__supplier(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}

{% macro conform__work_order(relation, parents={}, as_text=[], computed=[], carry=[], sent=[]) -%}
    select * from {{ relation }}
    {%- for parent in parents.values() if parent %}
    union all
    select * from {{ parent }}
    {%- endfor %}
{%- endmacro %}
