{#
    What Datong settles about dbt-spark: schemas, places, seeds and merges. All of it runs on Sail and on Apache Spark.
#}

{% macro generate_schema_name(custom_schema_name, node) -%}
    {#- What people read is built under a name of its own; gold.x and serve.x are the last versions that passed their
        checks (datong_platform.lake.builds). -#}
    {%- set schema = (custom_schema_name or target.schema) | trim -%}
    {{ schema ~ '_candidate' if schema in ('gold', 'serve') else schema }}
{%- endmacro %}


{% macro spark__location_clause() -%}
    {#- s3a is the one scheme that Sail, delta-rs and Hadoop's file system all read. The plugin dbt_datong sets the bucket. -#}
    {%- set folder = this.schema[:-10] if this.schema.endswith('_candidate') else this.schema %}
    location 's3a://{{ env_var("DATONG_BUCKET", "datong") }}/{{ folder }}/{{ this.identifier }}'
{%- endmacro %}


{% macro spark__create_csv_table(model, agate_table) -%}
    {#- A seed is written by spark__load_csv_rows, in one commit: readers never see it empty, and its history stays. -#}
    {{ return('') }}
{%- endmacro %}


{% macro spark__reset_csv_table(model, full_refresh, old_relation, agate_table) -%}
    {{ return('') }}
{%- endmacro %}


{% macro spark__load_csv_rows(model, agate_table) -%}
    {%- set types = model.config.column_types -%}
    {%- set sql -%}
        create or replace table {{ this }}
        {{ file_format_clause() }}
        {{ options_clause() }}
        {{ tblproperties_clause() }}
        {{ location_clause() }}
        as
        select
            {%- for name in agate_table.column_names %}
            cast(column_{{ loop.index }} as {{ types.get(name, 'string') }}) as {{ adapter.quote(name) }}{{ ',' if not loop.last }}
            {%- endfor %}
        from values
            {%- for row in agate_table.rows %}
            (
                {%- for value in row -%}
                {%- if value is none -%}cast(null as string){%- else -%}{{ dbt.string_literal(dbt.escape_single_quotes(value | string)) }}{%- endif -%}
                {{ ', ' if not loop.last }}
                {%- endfor -%}
            ){{ ',' if not loop.last }}
            {%- endfor %}
            as seed ({%- for name in agate_table.column_names -%}column_{{ loop.index }}{{ ', ' if not loop.last }}{%- endfor -%})
    {%- endset -%}
    {% call statement('load_seed') -%}
        {{ sql }}
    {%- endcall %}
    {{ return(sql) }}
{%- endmacro %}


{% macro spark__create_temporary_view(relation, compiled_code) -%}
    {#- A merge reads its source several times. What an incremental model computes is written down first, to ops: three
        seconds of work became one, and the last changes can be looked at. -#}
    {%- if model.resource_type == 'model' and config.get('materialized') == 'incremental' -%}
        {%- set changes = 'ops.changes_' ~ this.schema ~ '__' ~ this.identifier -%}
        {%- do run_query('create schema if not exists ops') -%}
        {%- call statement('write_changes') -%}
            create or replace table {{ changes }}
            {{ file_format_clause() }}
            {{ options_clause() }}
            location 's3a://{{ env_var("DATONG_BUCKET", "datong") }}/{{ changes | replace('.', '/') }}'
            as
            {{ compiled_code }}
        {%- endcall -%}
        create or replace temporary view {{ relation }} as select * from {{ changes }}
    {%- else -%}
        create or replace temporary view {{ relation }} as
        {{ compiled_code }}
    {%- endif -%}
{%- endmacro %}


{% macro spark__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
    {#- The merge of macro changed_only: what is gone is deleted, too. Columns are named, because `*` would want the
        marker in the table. -#}
    {%- set columns = adapter.get_columns_in_relation(target) | map(attribute='name') | list -%}
    {%- set offered = adapter.get_columns_in_relation(source) | map(attribute='name') | list -%}
    {%- set missing = columns | reject('in', offered) | list -%}
    {%- set added = offered | reject('in', columns) | reject('equalto', '_is_gone') | list -%}
    {%- if missing or added -%}
        {{ exceptions.raise_compiler_error(
            target ~ " is incremental and its columns changed (new: " ~ (added | join(', ') or 'none') ~ "; gone: "
            ~ (missing | join(', ') or 'none') ~ "). Next: dbt build --full-refresh --select " ~ model.name
        ) }}
    {%- endif -%}
    merge into {{ target }} as held
    using {{ source }} as changed
    on {% for column in unique_key %}held.{{ column }} = changed.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
    when matched and changed._is_gone then delete
    when matched then update set
        {%- for column in columns %}
        {{ adapter.quote(column) }} = changed.{{ adapter.quote(column) }}{{ ',' if not loop.last }}
        {%- endfor %}
    when not matched then insert ({% for column in columns %}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
        values ({% for column in columns %}changed.{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}
