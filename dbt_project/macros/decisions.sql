{#
    What stewards decided about single records. dbt reads what was in force when the build began; a model that needs
    decisions joins one of these, and says in its meta which it heeds, so that others leave it up to date:
        config: {meta: {decisions: {kinds: [code_mapping], entities: [unit]}}}
    A part int_<system>__<entity> heeds the overrides and fixes of its entity without saying so.
#}

{% macro overrides_of(entity) -%}
    {#- One row per record that may pass rules: `_overrides`, the rules, as rule or as field.rule, and who decided. -#}
    (
        select
            source_system,
            source_key,
            collect_list(case when field is null then rule else concat(field, '.', rule) end) as _overrides,
            concat_ws(', ', sort_array(collect_list(decision_id))) as _decision_id
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
            concat_ws(', ', sort_array(collect_list(decision_id))) as _decision_id
        from {{ source('ops', 'active_decision') }}
        where kind = 'fix' and entity = '{{ entity }}'
        group by source_system, source_key
    )
{%- endmacro %}


{% macro overridden(failures, overrides) -%}
    {#- The failures of a row, those that an override lets pass no longer withholding it: they stay visible. -#}
    transform(
        {{ failures }},
        failure -> named_struct(
            'field', failure.field,
            'rule', failure.rule,
            'reason', failure.reason,
            'is_withheld', failure.is_withheld
                and not coalesce(array_contains({{ overrides }}, failure.rule), false)
                and not coalesce(array_contains({{ overrides }}, concat(failure.field, '.', failure.rule)), false)
        )
    )
{%- endmacro %}
