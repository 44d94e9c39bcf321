{#
    Masks of personal values. Generated from platform/datong_platform/standard/masks.py by
    `datong standard compile`; change it there.
#}

{% macro mask_name(value) -%}
    {#- first character: 只显示首字. -#}
    case when {{ value }} is not null then concat(left({{ value }}, 1), repeat('*', greatest(length({{ value }}) - 1, 1))) end
{%- endmacro %}


{% macro mask_phone(value) -%}
    {#- without the four digits before the last four: 隐藏中间四位. -#}
    case when {{ value }} is not null then case when length({{ value }}) > 8 then concat(left({{ value }}, length({{ value }}) - 8), '****', right({{ value }}, 4)) else '****' end end
{%- endmacro %}


{% macro mask_email(value) -%}
    {#- first character and domain: 显示首字符和域名. -#}
    case when {{ value }} is not null then case when {{ value }} like '%@%' then concat(left({{ value }}, 1), '***@', split_part({{ value }}, '@', 2)) else '***' end end
{%- endmacro %}


{% macro mask_address(value) -%}
    {#- first six characters: 显示前六个字符. -#}
    case when {{ value }} is not null then case when length({{ value }}) > 6 then concat(left({{ value }}, 6), '****') else '****' end end
{%- endmacro %}


{% macro mask_id_number(value) -%}
    {#- first three and last four: 显示前三位和后四位. -#}
    case when {{ value }} is not null then case when length({{ value }}) > 7 then concat(left({{ value }}, 3), repeat('*', length({{ value }}) - 7), right({{ value }}, 4)) else '****' end end
{%- endmacro %}


{% macro mask_full(value) -%}
    {#- nothing: 全部隐藏. -#}
    case when {{ value }} is not null then '***' end
{%- endmacro %}
