{#
    What tests of Tryton's entities count in bronze.
#}

{% macro alive(entity) -%}
    {#- The records of a bronze table of Tryton that exist now: the last row of each, unless it deletes the record. -#}
    select *
    from (
        select
            *,
            row_number() over (partition by id order by _datong_batch_id desc) as _age
        from {{ bronze('tryton', entity) }}
    )
    where _age = 1 and _datong_operation <> 'delete'
{%- endmacro %}
