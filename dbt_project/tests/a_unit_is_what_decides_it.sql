/* what units_decided_by in dbt_project.yml says, on which the check of units and currencies relies */
{% for said in var('units_decided_by') -%}
select
    '{{ said.table }}.{{ said.unit }}' as decided,
    concat_ws('/', {% for column in said.columns %}one.{{ column }}{{ ', ' if not loop.last }}{% endfor %}) as by_these,
    min(one.{{ said.unit }}) as one_unit,
    max({{ 'other' if said.same_as else 'one' }}.{{ said.same_as.unit if said.same_as else said.unit }}) as another_unit
from {{ ref(said.table) }} as one
{%- if said.same_as %}
inner join {{ ref(said.same_as.table) }} as other
    on
        {%- for column in said.columns %}
        one.{{ column }} = other.{{ column }}{{ ' and' if not loop.last }}
        {%- endfor %}
{%- endif %}
group by {% for column in said.columns %}one.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
having
    min(one.{{ said.unit }}) <> max(one.{{ said.unit }})
    {%- if said.same_as %}
    or min(one.{{ said.unit }}) <> max(other.{{ said.same_as.unit }})
    {%- endif %}
{% if not loop.last %}
union all
{% endif %}
{%- endfor %}
