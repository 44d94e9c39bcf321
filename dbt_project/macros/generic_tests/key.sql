{% test key(model, columns) %}
    {#- The columns identify a row: none is null and no combination comes twice. One query for what `unique` and
        `not_null` would ask in several, as a build runs hundreds of tests. -#}
    select
        {{ columns | join(', ') }},
        count(*) as rows_with_this_key
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1{% for column in columns %} or {{ column }} is null{% endfor %}
{% endtest %}
