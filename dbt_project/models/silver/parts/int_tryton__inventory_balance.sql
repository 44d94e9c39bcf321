{{ config(enabled='tryton' in var('systems')) }}

with movement as (

    -- with those that a rule withholds from silver.material_movement: the goods moved all the same
    select * from {{ ref('int_tryton__material_movement') }}

),

balance as (

    -- Tryton keeps no balances either: its stock is the sum of what was moved
    select
        source_system,
        concat_ws('/', product_id, plant_id, storage_location_id) as source_key,
        material_id,
        plant_id,
        storage_location_id,
        cast(null as string) as batch_id,
        'UNRESTRICTED' as stock_type,
        cast(null as string) as special_stock_type,
        sum(signed_quantity) as quantity,
        quantity_unit,
        source_quantity_unit,
        max(_datong_batch_id) as _datong_batch_id,
        max(_datong_ingested_at) as _datong_ingested_at
    from movement
    group by source_system, product_id, material_id, plant_id, storage_location_id, quantity_unit, source_quantity_unit

),

described as (

    select
        *,
        struct(material_id, plant_id, storage_location_id, quantity, source_quantity_unit) as source_row
    from balance

)

{{ conform__inventory_balance('described', parents={'material': none}, computed=['stock_type'], sent=[]) }}
