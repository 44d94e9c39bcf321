{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'production') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as production_id,
        {{ blank_to_null('source.number') }} as number,
        source.type as production_order_type,
        cast(source.product as string) as product_id,
        cast(source.unit as string) as unit_id,
        cast(source.warehouse as string) as warehouse_id,
        try_cast(source.quantity as decimal(15, 3)) as quantity,
        status.code as status,
        source.state as source_status,
        source.planned_start_date as planned_start_on,
        source.planned_date as planned_end_on,
        source.effective_start_date as actual_start_on,
        source.effective_date as actual_end_on,
        coalesce(source.write_date, source.create_date) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'production') }} as source_row
    from source
    {{ crosswalk('tryton', 'production_order_status', 'source.state', 'status') }}

)

select * from renamed
