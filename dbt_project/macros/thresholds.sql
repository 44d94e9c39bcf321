{#
    How many rows of an entity may break a rule. A contract says it with `hold_above` and `stop_above`, shares of the
    entity's rows: above the first the table in silver stays as it was, and what reads it is built from that; above the
    second the build of the entity fails, and with it what reads it. What a steward let pass counts as kept.
#}

{% macro is_held(entity, table) -%}
    {#- Whether silver.<entity> keeps its last good version. -#}
    {%- set thresholds = thresholds_of(entity) -%}
    {%- if not thresholds or not execute or flags.WHICH not in ['build', 'run', 'test'] -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set counted = run_query(broken_shares(entity)) -%}
    {%- set held = [] -%}
    {%- for row in counted.rows if row['rows_in'] > 0 -%}
        {%- set words = row['broken'] ~ " of its " ~ row['rows_in'] ~ " rows break " ~ row['broken_rule'] -%}
        {%- set next = " Next: datong quarantine list --entity " ~ entity ~ "; mend the source or the crosswalk, or raise the"
            ~ " threshold in standard/contracts/" ~ entity ~ ".odcs.yaml" -%}
        {%- if row['broken'] > row['stop_above'] * row['rows_in'] -%}
            {{ exceptions.raise_compiler_error(
                "silver." ~ entity ~ " is stopped: " ~ words ~ ", more than the share of " ~ row['stop_above'] ~ "." ~ next
            ) }}
        {%- elif row['broken'] > row['hold_above'] * row['rows_in'] -%}
            {%- if not load_relation(table) -%}
                {{ exceptions.raise_compiler_error(
                    "silver." ~ entity ~ " is held and was never built: " ~ words ~ ", more than the share of "
                    ~ row['hold_above'] ~ ", and there is no good version to keep." ~ next
                ) }}
            {%- endif -%}
            {%- do held.append(words) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(held | length > 0) }}
{%- endmacro %}


{% macro broken_shares(entity) -%}
    {#- One row per rule that has a threshold: how many rows of the entity break it, of how many. -#}
    {%- set thresholds = thresholds_of(entity) -%}
    select
        limited.broken_rule,
        limited.hold_above,
        limited.stop_above,
        count(*) as rows_in,
        count(case when array_contains(checked._left, limited.broken_rule) then 1 end) as broken
    from (
        {%- for system in var('systems_of')[entity] if system in var('systems') %}
        select
            array_except(
                transform(_failures, failure -> concat(failure.field, '.', failure.rule)), coalesce(_overrides, array())
            ) as _left
        from {{ judged(system, entity) }}
        {%- if not loop.last %}
        union all
        {%- endif %}
        {%- endfor %}
    ) as checked
    cross join (
        select * from values
        {%- for one in thresholds %}
        ('{{ one.check }}', cast({{ one.hold_above }} as double), cast({{ one.stop_above }} as double)){{ ',' if not loop.last }}
        {%- endfor %}
        as limited (broken_rule, hold_above, stop_above)
    ) as limited
    group by limited.broken_rule, limited.hold_above, limited.stop_above
{%- endmacro %}


{% test within_thresholds(model, entity) %}
    {{ config(severity='warn') }}
    {#- The rules of an entity that more rows break than its contract allows: the table is as an earlier build left it. -#}
    select *
    from ({{ broken_shares(entity) }}) as counted
    where broken > hold_above * rows_in
{% endtest %}
