select
    source_system,
    plant_id,
    material_id,
    material_name_zh,
    material_type,
    book_quantity,
    unposted_quantity,
    unposted_count,
    actual_quantity,
    quantity_unit,
    standard_price,
    currency,
    actual_amount
from {{ ref('mart_inventory') }}
