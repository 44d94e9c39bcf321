with source as (

    select * from {{ bronze('erp', 'material_document_item') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['MaterialDocumentYear', 'MaterialDocument', 'MaterialDocumentItem']) }} as source_key,
        source.MaterialDocumentYear as material_document_year,
        {{ without_zeros('source.MaterialDocument') }} as material_document_id,
        {{ without_zeros('source.MaterialDocumentItem') }} as material_document_item_id,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.Plant') }} as plant_id,
        {{ blank_to_null('source.StorageLocation') }} as storage_location_id,
        movement_type.code as movement_type,
        source.GoodsMovementType as source_movement_type,
        direction.code as direction,
        source.DebitCreditCode as source_direction,
        {{ without_zeros('source.ManufacturingOrder') }} as production_order_id,
        {{ without_zeros('source.SalesOrder') }} as sales_order_id,
        {{ without_zeros('source.SalesOrderItem') }} as sales_order_item_id,
        {{ without_zeros('source.Reservation') }} as reservation_id,
        {{ without_zeros('source.ReservationItem') }} as reservation_item_id,
        try_cast(source.QuantityInBaseUnit as decimal(15, 3)) as quantity,
        quantity_unit.code as quantity_unit,
        source.MaterialBaseUnit as source_quantity_unit,
        {{ blank_to_null('source.MaterialDocumentItemText') }} as item_text,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'material_document_item') }} as source_row
    from source
    {{ crosswalk('erp', 'movement_type', 'source.GoodsMovementType', 'movement_type') }}
    {{ crosswalk('erp', 'direction', 'source.DebitCreditCode', 'direction') }}
    {{ crosswalk('erp', 'unit', 'source.MaterialBaseUnit', 'quantity_unit') }}

)

select * from renamed
