with source as (

    select * from {{ bronze('erp', 'sales_order') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['SalesOrder']) }} as source_key,
        {{ without_zeros('source.SalesOrder') }} as sales_order_id,
        {{ blank_to_null('source.SalesOrderType') }} as sales_order_type,
        {{ blank_to_null('source.SalesOrganization') }} as sales_organization_id,
        {{ blank_to_null('source.DistributionChannel') }} as distribution_channel,
        {{ without_zeros('source.SoldToParty') }} as customer_id,
        {{ blank_to_null('source.PurchaseOrderByCustomer') }} as customer_order_number,
        try_cast(source.SalesOrderDate as date) as ordered_on,
        try_cast(source.RequestedDeliveryDate as date) as requested_delivery_on,
        try_cast(source.TotalNetAmount as decimal(18, 3)) as amount,
        currency.code as currency,
        source.TransactionCurrency as source_currency,
        status.code as status,
        source.OverallSDProcessStatus as source_status,
        delivery_status.code as delivery_status,
        source.OverallTotalDeliveryStatus as source_delivery_status,
        {{ flag('source.DeliveryBlockReason') }} as is_delivery_blocked,
        {{ blank_to_null('source.YY1_ProductionStatus_SDH') }} as production_status,
        try_cast(source.CreationDate as date) as created_on,
        {{ blank_to_null('source.CreatedByUser') }} as created_by,
        try_cast(source.LastChangeDateTime as timestamp) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'sales_order') }} as source_row
    from source
    {{ crosswalk('erp', 'currency', 'source.TransactionCurrency', 'currency') }}
    {{ crosswalk('erp', 'document_status', 'source.OverallSDProcessStatus', 'status') }}
    {{ crosswalk('erp', 'document_status', 'source.OverallTotalDeliveryStatus', 'delivery_status') }}

)

select * from renamed
