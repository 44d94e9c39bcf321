with source as (

    select * from {{ bronze('erp', 'production_order') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['ManufacturingOrder']) }} as source_key,
        {{ without_zeros('source.ManufacturingOrder') }} as production_order_id,
        {{ blank_to_null('source.ManufacturingOrderType') }} as production_order_type,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.ProductionPlant') }} as plant_id,
        try_cast(source.TotalQuantity as decimal(15, 3)) as quantity,
        case
            when {{ not_sent('ActualDeliveredQuantity') }} then 0
            else try_cast(source.ActualDeliveredQuantity as decimal(15, 3))
        end as delivered_quantity,
        quantity_unit.code as quantity_unit,
        source.ProductionUnit as source_quantity_unit,
        try_cast(source.MfgOrderPlannedStartDate as date) as planned_start_on,
        try_cast(source.MfgOrderPlannedEndDate as date) as planned_end_on,
        try_cast(source.MfgOrderActualStartDate as date) as actual_start_on,
        try_cast(source.MfgOrderConfirmedEndDate as date) as actual_end_on,
        {{ without_zeros('source.SalesOrder') }} as sales_order_id,
        {{ without_zeros('source.SalesOrderItem') }} as sales_order_item_id,
        case
            when upper(source.OrderIsTechnicallyCompleted) = 'X' then 'CLOSED'
            when upper(source.OrderIsConfirmed) = 'X' then 'CONFIRMED'
            when upper(source.OrderIsPartiallyConfirmed) = 'X' then 'PARTIALLY_CONFIRMED'
            when upper(source.OrderIsReleased) = 'X' then 'RELEASED'
            else 'CREATED'
        end as status,
        try_cast(source.LastChangeDateTime as timestamp) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'production_order') }} as source_row
    from source
    {{ crosswalk('erp', 'unit', 'source.ProductionUnit', 'quantity_unit') }}

)

select * from renamed
