{% macro record_views(results) %}
    {#- The SQL of every view that this run built goes to ops.view_definition, from which the catalog is made again
        after the engine was restarted (datong_platform.lake.catalog). Views that are gone from the project go there too. -#}
    {%- set built = [] -%}
    {%- for result in results -%}
        {%- if result.node.resource_type == 'model' and result.node.config.materialized == 'view' and result.status == 'success' -%}
            {%- do built.append(result.node) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if execute and built -%}
        {%- set kept = [] -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'view' -%}
            {%- do kept.append("'" ~ node.schema ~ '.' ~ node.alias ~ "'") -%}
        {%- endfor -%}
        {%- do run_query("create schema if not exists ops") -%}
        {%- do run_query(
            "create table if not exists ops.view_definition (view_name string, definition string) using delta location 's3a://"
            ~ env_var('DATONG_BUCKET', 'datong') ~ "/ops/view_definition'"
        ) -%}
        {%- set merge -%}
            merge into ops.view_definition as held
            using (
                select * from values
                {%- for node in built %}
                ('{{ node.schema }}.{{ node.alias }}', '{{ node.compiled_code | replace("\\", "\\\\") | replace("'", "\\'") }}'){{ ',' if not loop.last }}
                {%- endfor %}
                as built (view_name, definition)
            ) as built
            on held.view_name = built.view_name
            when matched and held.definition <> built.definition then update set definition = built.definition
            when not matched then insert (view_name, definition) values (built.view_name, built.definition)
        {%- endset -%}
        {%- do run_query(merge) -%}
        {%- do run_query("delete from ops.view_definition where view_name not in (" ~ kept | join(', ') ~ ")") -%}
    {%- endif -%}
{% endmacro %}
