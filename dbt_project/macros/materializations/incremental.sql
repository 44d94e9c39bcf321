{#
    dbt-spark's incremental with fewer statements: the merge reads what was written down (macro write_changes) or, where
    they are few, the changes themselves, and the tables' own logs tell columns and whether there is anything to merge.
    What asks for another strategy than merge goes the way of dbt-spark.
#}

{% materialization incremental, adapter='spark' -%}
    {%- set strategy = dbt_spark_validate_get_incremental_strategy(
        config.get('incremental_strategy') or 'append', dbt_spark_validate_get_file_format(config.get('file_format', default='parquet'))
    ) -%}
    {%- set existing = load_relation(this) -%}
    {%- set unique_key = config.get('unique_key', none) -%}
    {{ run_hooks(pre_hooks) }}
    {%- if existing is none or existing.is_view or should_full_refresh() -%}
        {%- if existing is not none and existing.is_view -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ create_table_as(False, this, compiled_code) }}
        {%- endcall -%}
        {%- do persist_constraints(this, model) -%}
    {%- elif strategy == 'merge' -%}
        {%- set told = modules.re.search('-- datong changes: (\\w+) \\((.*)\\)', compiled_code) -%}
        {%- if told and told.group(1) == 'none' -%}
            {%- call statement('main') -%}
                select 1
            {%- endcall -%}
        {%- elif told and told.group(1) == 'few' -%}
            {%- call statement('main') -%}
                {{ merge_of(this, '(\n' ~ compiled_code ~ '\n)', unique_key, told.group(2).split(', ')) }}
            {%- endcall -%}
        {%- else -%}
            {%- set changes = write_changes(compiled_code) -%}
            {%- set found = adapter.table_log('ops', changes.identifier) -%}
            {#- asked for in any case: it refuses columns that changed -#}
            {%- set merge = merge_of(this, changes, unique_key, found.columns | list) -%}
            {%- call statement('main') -%}
                {{ merge if found.rows else 'select 1' }}
            {%- endcall -%}
        {%- endif -%}
    {%- else -%}
        {%- set changes = this.incorporate(path={'identifier': this.identifier ~ '__dbt_tmp'}).include(database=false, schema=false) -%}
        {%- call statement('create_tmp_relation') -%}
            {{ create_table_as(True, changes, compiled_code) }}
        {%- endcall -%}
        {%- do process_schema_changes(incremental_validate_on_schema_change(config.get('on_schema_change'), default='ignore'), changes, existing) -%}
        {%- call statement('main') -%}
            {{ dbt_spark_get_incremental_sql(strategy, changes, this, existing, unique_key, config.get('incremental_predicates', none)) }}
        {%- endcall -%}
        {%- call statement('drop_changes') -%}
            drop view if exists {{ changes }}
        {%- endcall -%}
    {%- endif -%}
    {%- do persist_docs(this, model) -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [this]}) }}
{%- endmaterialization %}


{% macro write_changes(compiled_code) -%}
    {#- A merge reads its source several times. What an incremental model computes is written down first, to ops: three
        seconds of work became one, and the last changes can be looked at. -#}
    {%- set changes = api.Relation.create(schema='ops', identifier='changes_' ~ this.schema ~ '__' ~ this.identifier) -%}
    {%- call statement('write_changes') -%}
        create or replace table {{ changes }}
        {{ file_format_clause() }}
        {{ options_clause() }}
        location 's3a://{{ env_var("DATONG_BUCKET", "datong") }}/ops/{{ changes.identifier }}'
        as
        {{ compiled_code }}
    {%- endcall -%}
    {{ return(changes) }}
{%- endmacro %}


{% macro merge_of(target, source, unique_key, offered) -%}
    {#- The merge of macros changed_only and changed_records: what is gone is deleted, too. Columns are named, because
        `*` would want the marker in the table. A small table is written anew in one pass over it and its changes: a
        merge would rewrite its few files as well, after reading them four times and the changes six times
        (decisions/0005). -#}
    {%- set held = adapter.table_log(target.schema, target.identifier) -%}
    {%- set columns = held.columns | list -%}
    {%- set missing = columns | reject('in', offered) | list -%}
    {%- set added = offered | reject('in', columns) | reject('equalto', '_is_gone') | list -%}
    {%- if missing or added -%}
        {{ exceptions.raise_compiler_error(
            target ~ " is incremental and its columns changed (new: " ~ (added | join(', ') or 'none') ~ "; gone: "
            ~ (missing | join(', ') or 'none') ~ "). Next: dbt build --full-refresh --select " ~ model.name
        ) }}
    {%- endif -%}
    {%- set same_key -%}
        {%- for column in unique_key %}held.{{ column }} = changed.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
    {%- endset -%}
    {%- if held.bytes <= var('written_anew_up_to', 16 * 1024 * 1024) %}
    {%- set sql %}
    select
        {%- for column, type in held.columns.items() %}
        case when changed.{{ unique_key[0] }} is null then held.{{ adapter.quote(column) }} else cast(changed.{{ adapter.quote(column) }} as {{ type }}) end as {{ adapter.quote(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ target }} as held
    full outer join {{ source }} as changed
        on {{ same_key }}
    where changed._is_gone is null or not changed._is_gone
    {%- endset %}
    {{ create_table_as(False, target, sql) }}
    {%- else %}
    merge into {{ target }} as held
    using {{ source }} as changed
    on {{ same_key }}
    when matched and changed._is_gone then delete
    when matched then update set
        {%- for column in columns %}
        {{ adapter.quote(column) }} = changed.{{ adapter.quote(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    when not matched and not changed._is_gone then insert ({% for column in columns %}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
        values ({% for column in columns %}changed.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
    {%- endif %}
{%- endmacro %}

