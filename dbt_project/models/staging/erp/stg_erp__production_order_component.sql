with source as (

    select * from {{ bronze('erp', 'production_order_component') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['Reservation', 'ReservationItem']) }} as source_key,
        {{ without_zeros('source.ManufacturingOrder') }} as production_order_id,
        {{ without_zeros('source.Reservation') }} as reservation_id,
        {{ without_zeros('source.ReservationItem') }} as reservation_item_id,
        source.Reservation as source_reservation,
        source.ReservationItem as source_reservation_item,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.Plant') }} as plant_id,
        {{ blank_to_null('source.StorageLocation') }} as storage_location_id,
        try_cast(source.RequiredQuantity as decimal(15, 3)) as required_quantity,
        case
            when {{ not_sent('WithdrawnQuantity') }} then 0
            else try_cast(source.WithdrawnQuantity as decimal(15, 3))
        end as withdrawn_quantity,
        quantity_unit.code as quantity_unit,
        source.BaseUnit as source_quantity_unit,
        try_cast(source.LastChangeDateTime as timestamp) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'production_order_component') }} as source_row
    from source
    {{ crosswalk('erp', 'unit', 'source.BaseUnit', 'quantity_unit') }}

)

select * from renamed
