with source as (

    select * from {{ bronze('erp', 'production_order_operation') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key([
            'ManufacturingOrder', 'ManufacturingOrderSequence', 'ManufacturingOrderOperation'
        ]) }} as source_key,
        {{ without_zeros('source.ManufacturingOrder') }} as production_order_id,
        coalesce({{ without_zeros('source.ManufacturingOrderSequence') }}, '0') as sequence_id,
        {{ without_zeros('source.ManufacturingOrderOperation') }} as operation_id,
        {{ blank_to_null('source.OperationText') }} as operation_name,
        {{ blank_to_null('source.WorkCenter') }} as work_center_id,
        try_cast(source.OpPlannedTotalQuantity as decimal(15, 3)) as quantity,
        quantity_unit.code as quantity_unit,
        source.OperationUnit as source_quantity_unit,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'production_order_operation') }} as source_row
    from source
    {{ crosswalk('erp', 'unit', 'source.OperationUnit', 'quantity_unit') }}

)

select * from renamed
