{#
    Rules. An int_ model lists the rules of its rows in one column, `_failures`: an array with one element for each rule
    that the row breaks. silver.<entity> takes the rows that break none that withholds them, quarantine.<entity> lists
    what was broken, and the test `conservation` counts that no row got lost in between.
#}

{% macro failures(rules) -%}
    filter(
        array(
            {%- for rule in rules %}
            {{ rule }}{{ ',' if not loop.last }}
            {%- endfor %}
        ),
        failure -> failure is not null
    ) as _failures
{%- endmacro %}


{% macro broken(field, rule, condition, reason, withholds=true) -%}
    {#- One rule: the row breaks it when `condition` holds. `reason` is an SQL text for people. A rule that does not
        withhold the row empties one of its fields and is reported all the same. -#}
    case
        when {{ condition }}
            then
                named_struct(
                    'field', '{{ field.split('.') | last }}', 'rule', '{{ rule }}', 'reason', {{ reason }}, 'is_withheld', {{ withholds }}
                )
    end
{%- endmacro %}


{% macro required(field) -%}
    {{ broken(field, 'required', field ~ ' is null', "'" ~ field.split('.') | last ~ " is missing'") }}
{%- endmacro %}


{% macro positive(field) -%}
    {{ broken(
        field, 'positive', 'coalesce(' ~ field ~ ', 0) <= 0',
        "concat('" ~ field.split('.') | last ~ " must be above zero and is ', coalesce(cast(" ~ field ~ " as string), 'missing'))"
    ) }}
{%- endmacro %}


{% macro not_negative(field) -%}
    {{ broken(
        field, 'not_negative', field ~ ' < 0',
        "concat('" ~ field.split('.') | last ~ " must not be below zero and is ', cast(" ~ field ~ " as string))"
    ) }}
{%- endmacro %}


{% macro known_code(field, source_code, code_set) -%}
    {#- The system's code has a counterpart in the standard; `source_code` is the column that holds it as sent. -#}
    {{ broken(
        field, 'known_' ~ code_set, field ~ ' is null',
        "concat('" ~ code_set | replace('_', ' ') ~ " ', coalesce(" ~ source_code ~ ", '(none)'), ' is not in the crosswalk')"
    ) }}
{%- endmacro %}


{% macro refers_to(field, found, entity) -%}
    {#- `found` is the key of the joined entity, null when there is none. -#}
    {{ broken(
        field, 'refers_to_' ~ entity, field ~ ' is not null and ' ~ found ~ ' is null',
        "concat('" ~ entity | replace('_', ' ') ~ " ', " ~ field ~ ", ' is not known')"
    ) }}
{%- endmacro %}


{% macro valid_credit_code(field, source_code) -%}
    {#- A wrong check character is a typing mistake: the customer is real and is kept, the code is not believed. -#}
    {{ broken(
        field, 'credit_code', source_code ~ ' is not null and ' ~ field ~ ' is null',
        "concat('credit code ', " ~ source_code ~ ", ' is not valid by GB 32100; the record is kept without it')",
        withholds=false
    ) }}
{%- endmacro %}


{% macro is_withheld() -%}
    {#- A rule that withholds is broken, and no steward let the record pass it (macro judged). -#}
    coalesce(size(array_except(
        transform(
            filter(_failures, failure -> failure.is_withheld), failure -> concat(failure.field, '.', failure.rule)
        ),
        coalesce(_overrides, array())
    )) > 0, false)
{%- endmacro %}
