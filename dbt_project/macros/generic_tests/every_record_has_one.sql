{% test every_record_has_one(model, records) %}
    {#- Every record that was there to be matched has a golden record, and nothing else has. -#}
    select
        coalesce(record.source_system, crosswalk.source_system) as source_system,
        coalesce(record.source_key, crosswalk.source_key) as source_key,
        crosswalk.golden_id
    from {{ records }} as record
    full outer join {{ model }} as crosswalk
        on record.source_system = crosswalk.source_system and record.source_key = crosswalk.source_key
    where record.source_key is null or crosswalk.golden_id is null
{% endtest %}
