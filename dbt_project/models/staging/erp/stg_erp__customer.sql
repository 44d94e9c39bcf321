with source as (

    select * from {{ bronze('erp', 'customer') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['Customer']) }} as source_key,
        {{ without_zeros('source.Customer') }} as customer_id,
        {{ blank_to_null('source.CustomerName') }} as customer_name,
        {{ blank_to_null('source.CustomerAccountGroup') }} as customer_group,
        {{ flag('source.OrderIsBlockedForCustomer') }} as is_order_blocked,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'customer') }} as source_row
    from source

)

select * from renamed
