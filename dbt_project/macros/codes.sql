{#
    Codes: a system's crosswalk with what stewards decided, and conversions between units and between currencies.
#}

{% macro code_mapping(system) -%}
    {#- The crosswalk of a system; what a steward decided about a code stands in place of the crosswalk's line. -#}
    with decided as (

        select
            entity as code_set,
            source_key as source_code,
            value as code,
            decision_id
        from {{ source('ops', 'active_decision') }}
        where kind = 'code_mapping' and source_system = '{{ system }}'

    ),

    mapped as (

        select
            crosswalk.code_set,
            crosswalk.source_code,
            crosswalk.code,
            crosswalk.is_preferred,
            cast(null as string) as decision_id
        from {{ ref('crosswalk_' ~ system) }} as crosswalk
        left anti join decided
            on crosswalk.code_set = decided.code_set and crosswalk.source_code = decided.source_code
        union all
        select
            code_set,
            source_code,
            code,
            false as is_preferred,
            decision_id
        from decided

    )

    select * from mapped
{%- endmacro %}


{% macro join_unit_conversion(alias, from_unit, to_unit) -%}
    {#- Joins as `alias` how to convert: a quantity in `from_unit` times its factor is the quantity in `to_unit`, null when
        the two measure different things. -#}
    left join {{ ref('unit_conversion') }} as {{ alias }}
        on {{ from_unit }} = {{ alias }}.from_unit and {{ to_unit }} = {{ alias }}.to_unit
{%- endmacro %}


{% macro join_material_unit_conversion(alias, material, from_unit, to_unit) -%}
    {#- The same by the material's own units, boxes and pallets; `material` is a relation with source_system and material_id. -#}
    left join {{ ref('material_unit_conversion') }} as {{ alias }}
        on
            {{ material }}.source_system = {{ alias }}.source_system
            and {{ material }}.material_id = {{ alias }}.material_id
            and {{ from_unit }} = {{ alias }}.from_unit
            and {{ to_unit }} = {{ alias }}.to_unit
{%- endmacro %}


{% macro join_currency_conversion(alias, from_currency, to_currency, day) -%}
    {#- Joins as `alias` the rate of a day: an amount in `from_currency` times its rate is the amount in `to_currency`, null
        when no rate is known. -#}
    left join {{ ref('currency_conversion') }} as {{ alias }}
        on
            {{ from_currency }} = {{ alias }}.from_currency
            and {{ to_currency }} = {{ alias }}.to_currency
            and {{ day }} >= {{ alias }}.valid_from
            and {{ day }} < {{ alias }}.valid_until
{%- endmacro %}
