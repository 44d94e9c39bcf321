{% test keeps_contract(model, rules) %}
    {#- No row breaks a rule of the table's contract. One look at the table; what comes back are the rows, each with the
        rules that it breaks. -#}
    select
        concat_ws(
            ', ',
            {%- for rule in rules %}
            case when {{ rule.broken_when }} then '{{ rule.field }} {{ rule.rule }}' end{{ ',' if not loop.last }}
            {%- endfor %}
        ) as broken,
        checked.*
    from {{ model }} as checked
    where
        {%- for rule in rules %}
        {{ 'or ' if not loop.first }}({{ rule.broken_when }})
        {%- endfor %}
{% endtest %}
