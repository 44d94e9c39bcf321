{% test conservation(model, entity, records) %}
    {#- Rows in = rows published + rows quarantined + rows deduplicated, for each source. Rows in, superseded versions
        and deleted records are counted in bronze by the source's own keys, not by anything that the models made;
        a difference means that a row was lost or doubled on the way. `where` says which rows of the source are this
        entity at all, `gone` which rows delete their record. Records of systems that are not connected are left out.
        Of an entity that is held the rows are counted that would be published. -#}
    {%- if thresholds_of(entity) and not execute -%}
        {%- do broken_shares(entity) -%}
    {%- endif -%}
    {%- set held = is_held(entity, model) -%}
    {%- set counts -%}
    {%- for record in records if record.system in var('systems') %}
    select
        '{{ record.system }}' as source_system,
        '{{ source(record.system, record.entity).schema }}.{{ source(record.system, record.entity).identifier }}' as source_table,
        counted.*,
        cast(0 as bigint) as left_out,
        cast(0 as bigint) as waiting,
        counted.rows_in - counted.published - counted.quarantined - counted.deduplicated as rows_lost
    from (
        select
            (
                select coalesce(sum(versions), 0)
                from ({{ _versions(record) }})
            ) as rows_in,
            (
                {%- if held %}
                select count(*) from {{ judged(record.system, entity) }} where not {{ is_withheld() }}
                {%- else %}
                select count(*) from {{ model }} where source_system = '{{ record.system }}'
                {%- endif %}
            ) as published,
            (
                select count(*)
                from {{ ref('quarantine_' ~ entity) }}
                where source_system = '{{ record.system }}' and is_withheld
            ) as quarantined,
            (
                select coalesce(sum(case when is_gone then versions else versions - 1 end), 0)
                from ({{ _versions(record) }})
            ) as deduplicated
    ) as counted
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endset -%}
    {{ lost(model, counts) }}
{% endtest %}


{% test conserved(model, entity, left_out=[], waiting=[]) %}
    {#- Every row of an entity of silver is in this table of gold, or is left out by what the table means (`left_out`), or
        waits for another record that a rule withholds (`waiting`). Each entry says which rows: those `with` a row of
        another entity, or `without` one, found by `on` (the aliases are `record` and `other`), `where` more is asked.
        Silver is named without ref(): the model depends on it anyway, and a build of silver alone must not run this. -#}
    {%- set counts -%}
    select
        cast(null as string) as source_system,
        'silver.{{ entity }}' as source_table,
        counted.rows_in,
        counted.published,
        cast(0 as bigint) as quarantined,
        cast(0 as bigint) as deduplicated,
        counted.left_out,
        counted.waiting,
        counted.rows_in - counted.published - counted.left_out - counted.waiting as rows_lost
    from (
        select
            (select count(*) from {{ of_silver(entity) }}) as rows_in,
            (select count(*) from {{ model }}) as published,
            {% for entries in [left_out, waiting] -%}
            {%- for entry in entries %}
            (
                select count(*)
                from {{ of_silver(entity) }} as record
                {{ 'inner' if entry.with is defined else 'left anti' }} join {{ of_silver(entry.get('with') or entry.without) }} as other
                    on {{ entry.on }}
                {%- if entry.where is defined %}
                where {{ entry.where }}
                {%- endif %}
            )
            {{- ' +' }}
            {%- endfor %} cast(0 as bigint) as {{ 'left_out' if loop.first else 'waiting' }}{{ ',' if loop.first }}
            {% endfor %}
    ) as counted
    {%- endset -%}
    {{ lost(model, counts) }}
{% endtest %}


{% test golden_conserved(model, entity, key) %}
    {#- Every record of an entity of silver is a member of exactly one golden record of this table, and each golden record
        stands for as many as the crosswalk gives it: records in = golden records + records merged into them. Counted
        golden record by golden record, so that one too many here cannot hide one too few there. -#}
    {%- set counts -%}
    with member as (

        select
            crosswalk.golden_id,
            count(*) as records
        from {{ of_silver(entity) }} as record
        left join {{ api.Relation.create(schema='ops', identifier='golden_' ~ entity) }} as crosswalk
            on record.source_system = crosswalk.source_system and record.source_key = crosswalk.source_key
        group by crosswalk.golden_id

    ),

    counted as (

        select
            coalesce(sum(member.records), 0) as rows_in,
            count(golden.{{ key }}) as published,
            coalesce(sum(golden.record_count - 1), 0) as deduplicated,
            coalesce(sum(abs(coalesce(member.records, 0) - coalesce(golden.record_count, 0))), 0) as rows_lost
        from member
        full outer join {{ model }} as golden
            on member.golden_id = golden.{{ key }}

    )

    select
        cast(null as string) as source_system,
        'silver.{{ entity }}' as source_table,
        rows_in,
        published,
        cast(0 as bigint) as quarantined,
        deduplicated,
        cast(0 as bigint) as left_out,
        cast(0 as bigint) as waiting,
        rows_lost
    from counted
    {%- endset -%}
    {{ lost(model, counts) }}
{% endtest %}


{% macro of_silver(entity) -%}
    {{ api.Relation.create(schema='silver', identifier=entity) }}
{%- endmacro %}


{% macro lost(model, counts) -%}
    {#- The rows of `counts` that do not add up. While a build tests, the counts are kept as ops.counted_<schema>__<table>:
        from there they go to ops.conservation, run by run (datong_platform.standard.conservation). -#}
    {%- if not counts | trim %}
    select 1 as rows_lost where false
    {%- elif execute and flags.WHICH in ['build', 'test'] and model is not string %}
    {%- set schema = model.schema[:-10] if model.schema.endswith('_candidate') else model.schema -%}
    {%- set table = 'counted_' ~ schema ~ '__' ~ model.identifier -%}
    {%- do run_query('create schema if not exists ops') -%}
    {%- call statement('count_rows') -%}
        create or replace table ops.{{ table }}
        using delta
        location 's3a://{{ env_var("DATONG_BUCKET", "datong") }}/ops/{{ table }}'
        as
        {{ counts }}
    {%- endcall %}
    select * from ops.{{ table }} where rows_lost <> 0
    {%- else %}
    select * from ({{ counts }}) as counted where rows_lost <> 0
    {%- endif %}
{%- endmacro %}


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
