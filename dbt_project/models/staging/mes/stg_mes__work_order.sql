with source as (

    select * from {{ bronze('mes', 'work_order') }}

),

renamed as (

    select
        'mes' as source_system,
        {{ source_key(['workOrderNo']) }} as source_key,
        {{ blank_to_null('source.workOrderNo') }} as work_order_id,
        {{ without_zeros('source.orderNo') }} as production_order_id,
        {{ material_number('source.partNo') }} as material_id,
        try_cast(source.quantity as decimal(15, 3)) as quantity,
        case
            when {{ not_sent('goodQuantity') }} then 0
            else try_cast(source.goodQuantity as decimal(15, 3))
        end as good_quantity,
        case
            when {{ not_sent('scrapQuantity') }} then 0
            else try_cast(source.scrapQuantity as decimal(15, 3))
        end as scrap_quantity,
        quantity_unit.code as quantity_unit,
        source.unit as source_quantity_unit,
        status.code as status,
        source.status as source_status,
        try_cast(source.plannedStart as timestamp) as planned_start_at,
        try_cast(source.plannedEnd as timestamp) as planned_end_at,
        try_cast(source.version as bigint) as version,
        try_cast(source.updatedAt as timestamp) as updated_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.updatedAt as timestamp) as _recorded_at,
        {{ source_row('mes', 'work_order') }} as source_row
    from source
    {{ crosswalk('mes', 'unit', 'source.unit', 'quantity_unit') }}
    {{ crosswalk('mes', 'work_order_status', 'source.status', 'status') }}

)

select * from renamed
