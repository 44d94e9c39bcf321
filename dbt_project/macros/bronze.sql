{#
    From a bronze table to a staging view.
#}

{% macro bronze(system, entity) -%}
    {#- The bronze table of a system's entity. A system of which nothing was ingested is not connected here: its staging
        views are empty, with the columns that its yml declares. One missing entity of a connected system is an error,
        because an empty table would look like the truth. -#}
    {%- set table = source(system, entity) -%}
    {%- if not execute or load_relation(table) -%}
        {{ table }}
    {%- else -%}
        {%- set others = [] -%}
        {%- for other in graph.sources.values() if other.source_name == system -%}
            {%- if load_relation(api.Relation.create(schema=other.schema, identifier=other.identifier)) -%}
                {%- do others.append(other.identifier) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if others -%}
            {{ exceptions.raise_compiler_error(
                table ~ " is not there, though other entities of " ~ system ~ " are (" ~ others | length ~ " of them): "
                ~ "it was never ingested, or its ingestion failed. Next: datong ingest " ~ system ~ " " ~ entity
            ) }}
        {%- endif -%}
        {{ nothing_of(system, entity) }}
    {%- endif -%}
{%- endmacro %}


{% macro nothing_of(system, entity) -%}
    (
        select
            {% for column in declared_columns(system, entity) -%}
            cast(null as {{ column.data_type }}) as {{ adapter.quote(column.name) }},
            {% endfor -%}
            cast(null as string) as _datong_batch_id,
            cast(null as timestamp) as _datong_ingested_at,
            cast(null as string) as _datong_operation,
            cast(null as string) as _datong_rescued
        where false
    )
{%- endmacro %}


{% macro source_row(system, entity) -%}
    {#- The row as the source sent it, all values as text: quarantine shows it as JSON, the same on every engine. With
        it, where there are any, the values that the view that calls this could not read (`_datong_unreadable`). -#}
    {%- if not execute -%}
        struct(source.*)
    {%- else -%}
        {%- set columns = [] -%}
        {%- if load_relation(source(system, entity)) -%}
            {%- for column in adapter.get_columns_in_relation(source(system, entity)) -%}
                {%- do columns.append(column.name) -%}
            {%- endfor -%}
        {%- else -%}
            {%- do columns.extend(declared_columns(system, entity) | map(attribute='name')) -%}
        {%- endif -%}
        named_struct(
            {%- for column in columns if not column.startswith('_datong_') or column == '_datong_rescued' %}
            '{{ column }}', cast(source.{{ adapter.quote(column) }} as string),
            {%- endfor %}
            '_datong_unreadable', {{ unreadable_values() }}
        )
    {%- endif -%}
{%- endmacro %}


{% macro unreadable_values() -%}
    {#- The values that a staging view turns to null, as JSON of texts by the view's own names, null where there are
        none: those that its `try_cast(source.x as type) as name` cannot read, and those that the ingestion rescued
        because they do not fit the source's own definition. They are found in the view's text, so that no cast can
        be written without telling what it could not read. -#}
    {%- set casts = modules.re.findall(
        'try_cast\\(source\\.(\\w+) as (\\w+(?:\\([^)]*\\))?)\\)(?:\\s+end)? as (\\w+),', model.raw_code
    ) -%}
    {%- if casts -%}
    case
        when source._datong_rescued is not null
            {%- for column, type, name in casts %}
            or (source.{{ column }} is not null and try_cast(source.{{ column }} as {{ type }}) is null)
            {%- endfor %}
            then to_json(named_struct(
                {%- for column, type, name in casts %}
                '{{ name }}', case
                    when try_cast(source.{{ column }} as {{ type }}) is null
                        then coalesce(
                            cast(source.{{ column }} as string), get_json_object(source._datong_rescued, '$.{{ column }}')
                        )
                end{{ ',' if not loop.last }}
                {%- endfor %}
            ))
    end
    {%- else -%}
    cast(null as string)
    {%- endif -%}
{%- endmacro %}


{% macro not_sent(column) -%}
    {#- Whether the source left a value out: one that ingestion rescued was sent. -#}
    source.{{ column }} is null and get_json_object(source._datong_rescued, '$.{{ column }}') is null
{%- endmacro %}


{% macro declared_columns(system, entity) -%}
    {%- for node in graph.sources.values() if node.source_name == system and node.name == entity -%}
        {{ return(node.columns.values() | list) }}
    {%- endfor -%}
{%- endmacro %}


{% macro source_key(columns, row='source') -%}
    {#- The source's own key as one text. A row without its key gets a text of its own, so that two such rows stay two. -#}
    case
        when {% for column in columns %}{{ row }}.{{ column }} is null{{ ' or ' if not loop.last }}{% endfor %}
            then concat('no key ', sha2(to_json(struct({{ row }}.*)), 256))
        else concat_ws('/', {% for column in columns %}{{ row }}.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
    end
{%- endmacro %}


{% macro crosswalk(system, code_set, source_code, alias) -%}
    {#- Joins the system's crosswalk as `alias`; `alias`.code is the standard's code, null when there is none. -#}
    left join {{ ref('code_mapping_' ~ system) }} as {{ alias }}
        on {{ alias }}.code_set = '{{ code_set }}' and {{ alias }}.source_code = {{ source_code }}
{%- endmacro %}
