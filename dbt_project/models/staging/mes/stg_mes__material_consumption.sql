with source as (

    select * from {{ bronze('mes', 'material_consumption') }}

),

renamed as (

    select
        'mes' as source_system,
        {{ source_key(['eventId']) }} as source_key,
        {{ blank_to_null('source.eventId') }} as event_id,
        {{ without_zeros('source.orderNo') }} as production_order_id,
        {{ material_number('source.partNo') }} as material_id,
        {{ without_zeros('source.reservationItem') }} as reservation_item_id,
        try_cast(source.quantity as decimal(15, 3)) as quantity,
        quantity_unit.code as quantity_unit,
        source.unit as source_quantity_unit,
        {{ blank_to_null('source.lotNo') }} as lot_id,
        try_cast(source.consumedAt as timestamp) as consumed_at,
        try_cast(source.recordedAt as timestamp) as recorded_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.recordedAt as timestamp) as _recorded_at,
        {{ source_row('mes', 'material_consumption') }} as source_row
    from source
    {{ crosswalk('mes', 'unit', 'source.unit', 'quantity_unit') }}

)

select * from renamed
