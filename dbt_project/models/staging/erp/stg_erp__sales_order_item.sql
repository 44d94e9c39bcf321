with source as (

    select * from {{ bronze('erp', 'sales_order_item') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['SalesOrder', 'SalesOrderItem']) }} as source_key,
        {{ without_zeros('source.SalesOrder') }} as sales_order_id,
        {{ without_zeros('source.SalesOrderItem') }} as sales_order_item_id,
        {{ material_number('source.Material') }} as material_id,
        {{ blank_to_null('source.SalesOrderItemText') }} as item_text,
        {{ blank_to_null('source.ProductionPlant') }} as plant_id,
        {{ blank_to_null('source.StorageLocation') }} as storage_location_id,
        try_cast(source.RequestedQuantity as decimal(15, 3)) as quantity,
        case
            when {{ not_sent('YY1_DeliveredQuantity_SDI') }} then 0
            else try_cast(source.YY1_DeliveredQuantity_SDI as decimal(15, 3))
        end as delivered_quantity,
        quantity_unit.code as quantity_unit,
        source.RequestedQuantityUnit as source_quantity_unit,
        try_cast(source.NetAmount as decimal(18, 3)) as amount,
        currency.code as currency,
        source.TransactionCurrency as source_currency,
        status.code as status,
        source.SDProcessStatus as source_status,
        delivery_status.code as delivery_status,
        source.DeliveryStatus as source_delivery_status,
        {{ blank_to_null('source.SalesDocumentRjcnReason') }} as rejection_reason,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'sales_order_item') }} as source_row
    from source
    {{ crosswalk('erp', 'unit', 'source.RequestedQuantityUnit', 'quantity_unit') }}
    {{ crosswalk('erp', 'currency', 'source.TransactionCurrency', 'currency') }}
    {{ crosswalk('erp', 'document_status', 'source.SDProcessStatus', 'status') }}
    {{ crosswalk('erp', 'document_status', 'source.DeliveryStatus', 'delivery_status') }}

)

select * from renamed
