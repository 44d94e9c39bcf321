with book as (

    select
        source_system,
        plant_id,
        material_id,
        sum(quantity) as book_quantity
    from {{ ref('inventory_balance') }}
    group by source_system, plant_id, material_id

),

/* consumed on the shop floor, and not yet known to the ERP */
unposted as (

    select
        order_system as source_system,
        plant_id,
        material_id,
        sum(base_quantity) as unposted_quantity,
        count(*) as unposted_count
    from {{ ref('fct_material_consumption') }}
    where not is_posted
    group by order_system, plant_id, material_id

),

place as (

    select
        source_system,
        plant_id,
        material_id
    from book
    union distinct
    select
        source_system,
        plant_id,
        material_id
    from unposted

),

material as (

    select * from {{ ref('int_material_of_system') }}

),

stock as (

    select
        place.source_system,
        place.plant_id,
        place.material_id,
        material.material_name_zh,
        material.material_type,
        cast(coalesce(book.book_quantity, 0) as decimal(18, 3)) as book_quantity,
        cast(coalesce(unposted.unposted_quantity, 0) as decimal(18, 3)) as unposted_quantity,
        cast(coalesce(unposted.unposted_count, 0) as int) as unposted_count,
        cast(coalesce(book.book_quantity, 0) - coalesce(unposted.unposted_quantity, 0) as decimal(18, 3))
            as actual_quantity,
        material.base_unit as quantity_unit,
        material.standard_price,
        material.currency
    from place
    left join book
        on
            place.source_system = book.source_system
            and place.plant_id = book.plant_id
            and place.material_id = book.material_id
    left join unposted
        on
            place.source_system = unposted.source_system
            and place.plant_id = unposted.plant_id
            and place.material_id = unposted.material_id
    left join material
        on place.source_system = material.source_system and place.material_id = material.material_id

)

select
    *,
    cast(actual_quantity * standard_price as decimal(18, 2)) as actual_amount
from stock
