{#
    What stewards decided about single records. dbt reads what was in force when the build began; a model that needs
    decisions joins one of these, and says in its meta which it heeds, so that others leave it up to date:
        config: {meta: {decisions: {kinds: [code_mapping], entities: [unit]}}}
    Silver, quarantine and the parts int_<system>__<entity> heed the overrides and fixes of their entity without saying so.
#}

{% macro overrides_of(entity) -%}
    {#- One row per record that may pass rules: `_overrides`, these rules as field.rule, and the decisions' ids. -#}
    (
        select
            source_system,
            source_key,
            collect_list(concat(field, '.', rule)) as _overrides,
            nullif(concat_ws(', ', sort_array(collect_list(decision_id))), '') as _decision_id
        from {{ source('ops', 'active_decision') }}
        where kind = 'override' and entity = '{{ entity }}'
        group by source_system, source_key
    )
{%- endmacro %}


{% macro fixes_of(entity, fields) -%}
    {#- One row per record with values that a steward put in place of those that came: a column for each field, as text,
        null where the value stays. -#}
    (
        select
            source_system,
            source_key,
            {%- for field in fields %}
            max(case when field = '{{ field }}' then value end) as {{ field }},
            {%- endfor %}
            nullif(concat_ws(', ', sort_array(collect_list(decision_id))), '') as _decision_id
        from {{ source('ops', 'active_decision') }}
        where kind = 'fix' and entity = '{{ entity }}'
        group by source_system, source_key
    )
{%- endmacro %}
