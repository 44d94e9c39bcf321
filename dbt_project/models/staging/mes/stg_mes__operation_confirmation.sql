with source as (

    select * from {{ bronze('mes', 'operation_confirmation') }}

),

renamed as (

    select
        'mes' as source_system,
        {{ source_key(['eventId']) }} as source_key,
        {{ blank_to_null('source.eventId') }} as event_id,
        {{ without_zeros('source.orderNo') }} as production_order_id,
        {{ without_zeros('source.operationNo') }} as operation_id,
        {{ blank_to_null('source.workCenter') }} as work_center_id,
        try_cast(source.goodQuantity as decimal(15, 3)) as good_quantity,
        case
            when {{ not_sent('scrapQuantity') }} then 0
            else try_cast(source.scrapQuantity as decimal(15, 3))
        end as scrap_quantity,
        quantity_unit.code as quantity_unit,
        source.unit as source_quantity_unit,
        try_cast(source.machineMinutes as decimal(15, 3)) as machine_minutes,
        {{ blank_to_null('source.operator') }} as operator,
        try_cast(source.confirmedAt as timestamp) as confirmed_at,
        try_cast(source.recordedAt as timestamp) as recorded_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.recordedAt as timestamp) as _recorded_at,
        {{ source_row('mes', 'operation_confirmation') }} as source_row
    from source
    {{ crosswalk('mes', 'unit', 'source.unit', 'quantity_unit') }}

)

select * from renamed
