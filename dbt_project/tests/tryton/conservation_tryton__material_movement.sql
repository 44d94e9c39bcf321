{{ config(enabled='tryton' in var('systems')) }}

{#- Every done move makes one item for each of its sides that is stock, and the balances are their sum. Counted from
    bronze, not from what the models made. -#}

with move as (

    {{ alive('stock_move') }}

),

location as (

    {{ alive('stock_location') }}

),

item as (

    select
        move.product,
        location.id as location,
        move.internal_quantity * case when location.id = move.from_location then -1 else 1 end as quantity
    from move
    inner join location
        on (move.from_location = location.id or move.to_location = location.id) and location.type = 'storage'
    where move.state = 'done'

),

counted as (

    select
        (select count(*) from item) as items_in,
        (
            select count(*)
            from {{ ref('material_movement') }}
            where source_system = 'tryton'
        ) as published,
        (
            select count(*)
            from {{ ref('quarantine_material_movement') }}
            where source_system = 'tryton' and is_withheld
        ) as quarantined,
        (select round(sum(quantity), 3) from item) as stock_in,
        (select round(sum(quantity), 3) from {{ ref('int_tryton__inventory_balance') }}) as stock_out

)

select *
from counted
where items_in <> published + quarantined or abs(coalesce(stock_in, 0) - coalesce(stock_out, 0)) > 0.001
