{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'stock_move') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as move_id,
        cast(source.product as string) as product_id,
        cast(source.unit as string) as unit_id,
        try_cast(source.quantity as decimal(15, 3)) as quantity,
        try_cast(source.internal_quantity as decimal(15, 3)) as base_quantity,
        cast(source.from_location as string) as from_location_id,
        cast(source.to_location as string) as to_location_id,
        source.state as source_status,
        source.effective_date as posted_on,
        case when source.origin like 'sale.line,%' then substr(source.origin, 11) end as sale_line_id,
        {{ blank_to_null('source.shipment') }} as shipment,
        cast(source.production_input as string) as consuming_production_id,
        cast(source.production_output as string) as yielding_production_id,
        cast(source.create_uid as string) as created_by,
        {{ plant_day('source.create_date') }} as created_on,
        coalesce(source.write_date, source.create_date) as changed_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'stock_move') }} as source_row
    from source

)

select * from renamed
