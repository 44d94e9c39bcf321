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
