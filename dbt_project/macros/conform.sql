{#
    From staging to silver: one part for each system, int_<system>__<entity>, all with the same columns. Which systems
    can feed an entity is said once, in dbt_project.yml (vars: systems_of), and which are connected (vars: systems).
    A new system is a new part for each entity that it feeds, and its name there.
#}

{% macro latest(staging) -%}
    {#- The state of every record: its last row in the change log, unless that row deletes it. The order within a batch
        matters for events only, which a batch may hold twice: the row recorded last, then any one of equal rows. -#}
    select *
    from (
        select
            *,
            row_number() over (partition by source_key order by _datong_batch_id desc, _recorded_at desc) as _age
        from {{ ref(staging) }}
    ) as aged
    where _age = 1 and _datong_operation <> 'delete'
{%- endmacro %}


{% macro conformed(entity) -%}
    {#- silver.<entity>: the rows of all systems that no rule withholds, with the columns of its contract. A table that
        is merged gets differences only; which ones those are its properties say, from the contract. -#}
    {%- set columns = columns_of(entity) -%}
    {%- if '_datong_version' in columns -%}
    with published as (
        {{ published(entity, columns) }}
    )

    {{ changed_only('published', columns) }}
    {%- else -%}
    {{ published(entity, columns) }}
    {%- endif -%}
{%- endmacro %}


{% macro conform_demands(entity, references, typed, coded, parents, as_text, computed) -%}
    {#- What a part says to conform__<entity>(), checked while the model is compiled. -#}
    {%- set wrong = [] -%}
    {%- for reference in references if reference not in parents -%}
        {%- do wrong.append("refers to " ~ reference ~ ". Next: name the CTE that lists them, parents={'" ~ reference
            ~ "': '...'}, or none where the part itself made the reference from one") -%}
    {%- endfor -%}
    {%- for parent in parents if parent not in references -%}
        {%- do wrong.append("refers to no " ~ parent ~ ". Next: take it out of `parents`") -%}
    {%- endfor -%}
    {%- for field in as_text if field not in typed -%}
        {%- do wrong.append("has no typed field " ~ field ~ ". Next: take it out of `as_text`") -%}
    {%- endfor -%}
    {%- for field in computed if field not in coded -%}
        {%- do wrong.append("has no coded field " ~ field ~ ". Next: take it out of `computed`") -%}
    {%- endfor -%}
    {%- if wrong -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ ": the contract standard/contracts/" ~ entity ~ ".odcs.yaml " ~ wrong | join("; it ") ~ "."
        ) }}
    {%- endif -%}
{%- endmacro %}


{% macro unreadable(field, sent) -%}
    {#- A field's value as it was sent, where staging could not read it; `sent` are the rows as sent that hold it. -#}
    {%- if sent -%}
        coalesce(
            {%- for row in sent -%}
            get_json_object({{ row }}._datong_unreadable, '$.{{ field }}'),{{ ' ' }}
            {%- endfor -%}
            cast(null as string))
    {%- else -%}
        cast(null as string)
    {%- endif -%}
{%- endmacro %}


{% macro published(entity, columns) -%}
    {#- The rows of all systems that no rule withholds, or that a steward let pass; of an entity that is held, those that
        its table has already. -#}
    {%- if is_held(entity, this) %}
    select
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        _datong_batch_id,
        _datong_ingested_at
    from {{ this }}
    {%- else %}
    {%- for system in var('systems_of')[entity] if system in var('systems') %}
    select
        {%- for column in columns %}
        {{ 'judged.' if column in ['source_system', 'source_key'] }}{{ column }},
        {%- endfor %}
        _datong_batch_id,
        _datong_ingested_at
    from {{ judged(system, entity) }}
    where not {{ is_withheld() }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
    {%- endif %}
{%- endmacro %}


{% macro quarantined(entity) -%}
    {#- One row for each record that breaks a rule, with what it breaks and the row as the source sent it. -#}
    {%- set contract_version = (config.get('meta') or {}).get('contract_version') -%}
    {%- for system in var('systems_of')[entity] if system in var('systems') %}
    select
        judged.source_system,
        judged.source_key,
        {{ is_withheld() }} as is_withheld,
        concat_ws(', ', transform(_failures, failure -> failure.field)) as field,
        concat_ws(', ', transform(_failures, failure -> failure.rule)) as rule,
        concat_ws('; ', transform(_failures, failure -> failure.reason)) as reason,
        to_json(_failures) as failures,
        to_json(source_row) as source_row,
        {{ checked_row(entity) }} as checked_row,
        cast({{ "'" ~ contract_version ~ "'" if contract_version else 'null' }} as string) as contract_version,
        _decision_id,
        _datong_batch_id,
        _datong_ingested_at
    from {{ judged(system, entity) }}
    where size(_failures) > 0
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
{%- endmacro %}


{% macro checked_row(entity) -%}
    {#- What the standard made of the row, as JSON of texts: shown beside the row as it was sent. -#}
    to_json(named_struct(
        {%- for column in columns_of(entity) if column not in ['source_system', 'source_key', '_datong_version'] %}
        '{{ column }}', cast({{ column }} as string){{ ',' if not loop.last }}
        {%- endfor %}
    ))
{%- endmacro %}


{% macro judged(system, entity) -%}
    {#- A part with the rules that stewards let its records pass. -#}
    {{ ref('int_' ~ system ~ '__' ~ entity) }} as judged
    left join {{ overrides_of(entity) }} as decided
        on judged.source_system = decided.source_system and judged.source_key = decided.source_key
{%- endmacro %}


{% macro changed_only(relation, columns) -%}
    {#- For an incremental model: of all rows that must be in the table, those that are not there in this version, and
        as deletions those that are there and must not be. So the table always ends as a full build would have it,
        whatever arrived late, out of order, twice, or was let out of quarantine. Keys and versions of the whole
        relation are compared, which is cheap; only differences are written. -#}
    {%- if is_incremental() %}
    select
        {%- for column in columns + ['_datong_batch_id', '_datong_ingested_at'] %}
        {%- if column in ['source_system', 'source_key'] %}
        coalesce(wanted.{{ column }}, held.{{ column }}) as {{ column }},
        {%- else %}
        wanted.{{ column }},
        {%- endif %}
        {%- endfor %}
        wanted.source_key is null as _is_gone
    from {{ relation }} as wanted
    full outer join {{ this }} as held
        on wanted.source_system = held.source_system and wanted.source_key = held.source_key
    where
        wanted.source_key is null
        or held.source_key is null
        or wanted._datong_version <> held._datong_version
    {%- else %}
    select * from {{ relation }}
    {%- endif %}
{%- endmacro %}


{% macro changed_records(staging, columns) -%}
    {#- For an incremental model whose rows are the last states of the records of one staging view, each made from its own
        record alone: of a build that follows another only the records of batches that came since are read. Everything is
        compared, as changed_only does, when that would not do: after a change of code, when the bronze table was made
        anew or its rows replaced, and when the logs of the two tables do not tell enough. The table's
        `_datong_version` holds what decides that: a digest of the code and of the bronze table's id, and the batch. -#}
    {%- set wanted = ['source_system', 'source_key'] + columns -%}
    {%- set all = wanted + ['_datong_version', '_datong_batch_id', '_datong_ingested_at'] -%}
    {%- set latest_of = latest(staging) -%}
    {%- set told = changes_since(staging) if execute else {'code': '', 'since': none} -%}
    {%- set version = "concat('" ~ told.code ~ " ', _datong_batch_id)" -%}
    {%- if not is_incremental() or told.since is none -%}
    with wanted as (

        select
            {{ wanted | join(', ') }},
            {{ version }} as _datong_version,
            _datong_batch_id,
            _datong_ingested_at
        from (
            {{ latest_of }}
        ) as records

    )

    {{ changed_only('wanted', wanted + ['_datong_version']) }}
    {%- else -%}
    -- datong changes: {{ 'few' if told.is_new else 'none' }} ({{ (all + ['_is_gone']) | join(', ') }})
    select
        {{ wanted | join(', ') }},
        {{ version }} as _datong_version,
        _datong_batch_id,
        _datong_ingested_at,
        _datong_operation = 'delete' as _is_gone
    from (
        select
            *,
            row_number() over (partition by source_key order by _datong_batch_id desc, _recorded_at desc) as _age
        from {{ ref(staging) }}
        where _datong_batch_id > '{{ told.since }}'
    ) as aged
    where _age = 1
    {%- endif -%}
{%- endmacro %}


{% macro changes_since(staging) -%}
    {#- What changed_records() has to know: `code`, a digest of all that decides the rows but the rows of bronze; `since`,
        the last batch that the table has, none where all has to be compared; `is_new`, whether bronze has a later one.
        An error where the model or its view reads anything else. -#}
    {%- set view = namespace(node=none) -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == staging -%}
        {%- set view.node = node -%}
    {%- endfor -%}
    {%- set read = view.node.depends_on.nodes -%}
    {%- if model.depends_on.nodes != [view.node.unique_id] or read | length != 1 or read[0] not in graph.sources -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ " uses changed_records('" ~ staging ~ "'), which is for a model that reads this view alone, and a "
            ~ "view that reads one bronze table alone: what else they read could change without a new batch. "
            ~ "Next: take latest() and changed_only(), see ADD_A_MODEL.md"
        ) }}
    {%- endif -%}
    {%- set bronze = graph.sources[read[0]] -%}
    {%- set sent = adapter.table_log(bronze.schema, bronze.identifier) -%}
    {%- set code = adapter.code_digest(model.raw_code, view.node.raw_code, sent.delta_id if sent else '') -%}
    {%- set held = adapter.table_log(this.schema, this.identifier) -%}
    {%- set versions = held.bounds('_datong_version') if held else none -%}
    {%- set batches = sent.bounds('_datong_batch_id') if sent else none -%}
    {%- if versions and batches and versions[0].startswith(code ~ ' ') and versions[1].startswith(code ~ ' ') -%}
        {%- set last = versions[1].split(' ')[1] -%}
        {%- if batches[0] <= last <= batches[1] -%}
            {{ return({'code': code, 'since': last, 'is_new': last < batches[1]}) }}
        {%- endif -%}
    {%- endif -%}
    {{ return({'code': code, 'since': none}) }}
{%- endmacro %}
