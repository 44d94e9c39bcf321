{% test known_codes(model) %}
    {#- Every code that a mapping leads to is in the standard, units and currencies among them. -#}
    with known as (

        select code_set, code from {{ ref('code') }}
        union all
        select 'unit' as code_set, unit as code from {{ ref('unit') }}
        union all
        select 'currency' as code_set, currency as code from {{ ref('currency') }}

    )

    select mapped.*
    from {{ model }} as mapped
    left anti join known on mapped.code_set = known.code_set and mapped.code = known.code
{% endtest %}
