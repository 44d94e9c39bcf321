{% test conservation(model, entity, records) %}
    {#- Rows in = rows published + rows quarantined + rows deduplicated, for each source. Rows in, superseded versions
        and deleted records are counted in bronze by the source's own keys, not by anything that the models made;
        a difference means that a row was lost or doubled on the way. `where` says which rows of the source are this
        entity at all, `gone` which rows delete their record. Records of systems that are not connected are left out. -#}
    {%- for record in records if record.system in var('systems') %}
    select
        '{{ record.system }}' as source_system,
        counted.*,
        counted.rows_in - counted.published - counted.quarantined - counted.deduplicated as rows_lost
    from (
        select
            (
                select coalesce(sum(versions), 0)
                from ({{ _versions(record) }})
            ) as rows_in,
            (
                select coalesce(sum(case when is_gone then versions else versions - 1 end), 0)
                from ({{ _versions(record) }})
            ) as deduplicated,
            (
                select count(*) from {{ model }} where source_system = '{{ record.system }}'
            ) as published,
            (
                select count(*)
                from {{ ref('quarantine_' ~ entity) }}
                where source_system = '{{ record.system }}' and is_withheld
            ) as quarantined
    ) as counted
    where counted.rows_in <> counted.published + counted.quarantined + counted.deduplicated
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{% endtest %}


{% macro _versions(record) -%}
    {#- One row per record of a source: how often bronze holds it, and whether its last row deletes it. -#}
    select
        count(*) as versions,
        coalesce(max_by(is_deletion, _datong_batch_id), false) as is_gone
    from (
        select
            {{ source_key(record['keys']) }} as source_key,
            source._datong_batch_id,
            {{ record.gone or "_datong_operation = 'delete'" }} as is_deletion
        from {{ bronze(record.system, record.entity) }} as source
        {%- if record.where %}
        where {{ record.where }}
        {%- endif %}
    )
    group by source_key
{%- endmacro %}
