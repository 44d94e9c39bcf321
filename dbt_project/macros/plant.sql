{#
    What is particular to the plant: its days, and how far its orders are.
#}

{% macro plant_midnight(day) -%}
    {#- The first moment of a day in the plant's time zone, UTC. -#}
    to_utc_timestamp(cast({{ day }} as timestamp), '{{ var("plant_time_zone") }}')
{%- endmacro %}


{% macro plant_day(moment) -%}
    {#- The day that it was in the plant at a moment in UTC. -#}
    cast(from_utc_timestamp({{ moment }}, '{{ var("plant_time_zone") }}') as date)
{%- endmacro %}


{% macro production_status(orders, started, finished) -%}
    {#- How far the production orders of a sales order or item are; null when it has none. -#}
    case
        when coalesce({{ orders }}, 0) = 0 then null
        when {{ finished }} = {{ orders }} then 'PRODUCED'
        when {{ started }} > 0 then 'IN_PRODUCTION'
        else 'NOT_STARTED'
    end
{%- endmacro %}
