{{ config(severity='warn') }}
-- stock = opening + receipts - issues: the ERP's book stock and its goods movements tell the same.
-- Only a warning, as an ERP that archives old documents cannot pass it.
with moved as (

    select
        source_system,
        plant_id,
        material_id,
        sum(signed_quantity) as quantity
    from {{ ref('material_movement') }}
    group by source_system, plant_id, material_id

),

book as (

    select
        source_system,
        plant_id,
        material_id,
        sum(quantity) as quantity
    from {{ ref('inventory_balance') }}
    group by source_system, plant_id, material_id

)

select
    coalesce(book.source_system, moved.source_system) as source_system,
    coalesce(book.plant_id, moved.plant_id) as plant_id,
    coalesce(book.material_id, moved.material_id) as material_id,
    book.quantity as book_quantity,
    moved.quantity as moved_quantity
from book
full outer join moved
    on
        book.source_system = moved.source_system
        and book.plant_id = moved.plant_id
        and book.material_id = moved.material_id
where coalesce(book.quantity, 0) <> coalesce(moved.quantity, 0)
