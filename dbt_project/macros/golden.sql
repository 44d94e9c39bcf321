{#
    Golden records. A golden table takes its cells by the authority file: for each field from the system that knows it
    best. Which records are one, ops.golden_<entity> tells (macros/materializations/matched.sql).
#}

{% macro survivors(entity, fields, flags=[], together=[]) -%}
    {#- One row per golden record of an entity: the cells of `fields` by authority, of `flags` true when any record says
        so, and for each cell the record that it comes from (`sources`). The fields of a list in `together` come from one
        record, the one that has the list's first field: a price is worth nothing beside another system's currency.
        Reads the CTE `record`: the entity's records with their golden_id and the number that people know them by
        (record_number). -#}
    {%- set owners = authority(entity) -%}
    {%- set orders = [] -%}
    {%- for field in fields if owners.get(field, owners['*']) not in orders -%}
        {%- do orders.append(owners.get(field, owners['*'])) -%}
    {%- endfor -%}
    select
        golden_id,
        {%- for field in fields %}
        min_by({{ field }}, {{ place_of(owners, field, together) }}) as {{ field }},
        {%- endfor %}
        {%- for flag in flags %}
        coalesce(max({{ flag }}), false) as {{ flag }},
        {%- endfor %}
        cast(count(*) as int) as record_count,
        concat_ws(', ', array_sort(collect_set(concat(source_system, ':', record_number)))) as records,
        named_struct(
            {%- for field in fields %}
            '{{ field }}',
            case
                when min_by({{ field }}, {{ place_of(owners, field, together) }}) is not null
                    then min_by(concat(source_system, ':', record_number), {{ place_of(owners, field, together) }})
            end{{ ',' if not loop.last }}
            {%- endfor %}
        ) as sources
    from (
        select
            *
            {%- for order in orders %},
            row_number() over (
                partition by golden_id
                order by
                    case source_system {%- for system in order %} when '{{ system }}' then {{ loop.index }}{% endfor %} else 99 end,
                    source_system,
                    changed_at desc,
                    source_key asc
            ) as place_by_{{ order | join('_') }}
            {%- endfor %}
        from record
    ) as placed
    group by golden_id
{%- endmacro %}


{% macro place_of(owners, field, together) -%}
    {#- The place of a record among those that have the field, or the first of the fields that go with it. -#}
    {%- set lead = namespace(field=field) -%}
    {%- for group in together if field in group -%}
        {%- set lead.field = group[0] -%}
    {%- endfor -%}
    case when {{ lead.field }} is not null then {{ place_by(owners, lead.field) }} end
{%- endmacro %}


{% macro place_by(owners, field) -%}
    place_by_{{ owners.get(field, owners['*']) | join('_') }}
{%- endmacro %}
