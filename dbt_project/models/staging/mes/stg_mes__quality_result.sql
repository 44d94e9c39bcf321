with source as (

    select * from {{ bronze('mes', 'quality_result') }}

),

renamed as (

    select
        'mes' as source_system,
        {{ source_key(['eventId']) }} as source_key,
        {{ blank_to_null('source.eventId') }} as event_id,
        {{ without_zeros('source.orderNo') }} as production_order_id,
        {{ blank_to_null('source.characteristic') }} as characteristic,
        try_cast(source.measuredValue as decimal(18, 6)) as measured_value,
        try_cast(source.lowerLimit as decimal(18, 6)) as lower_limit,
        try_cast(source.upperLimit as decimal(18, 6)) as upper_limit,
        {{ blank_to_null('source.unit') }} as measured_unit,
        result.code as result,
        source.result as source_result,
        try_cast(source.inspectedAt as timestamp) as inspected_at,
        try_cast(source.recordedAt as timestamp) as recorded_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.recordedAt as timestamp) as _recorded_at,
        {{ source_row('mes', 'quality_result') }} as source_row
    from source
    {{ crosswalk('mes', 'quality_result', 'source.result', 'result') }}

)

select * from renamed
