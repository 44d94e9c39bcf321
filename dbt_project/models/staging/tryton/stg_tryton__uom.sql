{{ config(enabled='tryton' in var('systems')) }}

with source as (

    select * from {{ bronze('tryton', 'uom') }}

),

renamed as (

    select
        'tryton' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as unit_id,
        unit.code as unit,
        source.symbol as source_unit,
        cast(source.category as string) as category_id,
        source.factor,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('tryton', 'uom') }} as source_row
    from source
    {{ crosswalk('tryton', 'unit', 'source.symbol', 'unit') }}

)

select * from renamed
