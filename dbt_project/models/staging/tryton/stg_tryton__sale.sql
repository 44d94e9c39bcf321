{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'sale') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as sale_id,
        {{ blank_to_null('source.number') }} as number,
        {{ blank_to_null('source.reference') }} as customer_order_number,
        cast(source.party as string) as party_id,
        cast(source.company as string) as company_id,
        cast(source.currency as string) as currency_id,
        cast(source.warehouse as string) as warehouse_id,
        source.sale_date as ordered_on,
        source.shipping_date as requested_delivery_on,
        try_cast(source.untaxed_amount_cache as decimal(18, 3)) as amount,
        status.code as status,
        source.state as source_status,
        delivery_status.code as delivery_status,
        source.shipment_state as source_delivery_status,
        cast(source.create_uid as string) as created_by,
        {{ plant_day('source.create_date') }} as created_on,
        coalesce(source.write_date, source.create_date) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'sale') }} as source_row
    from source
    {{ crosswalk('tryton', 'document_status', 'source.state', 'status') }}
    {{ crosswalk('tryton', 'delivery_status', 'source.shipment_state', 'delivery_status') }}

)

select * from renamed
