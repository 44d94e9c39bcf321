with material as (

    select * from {{ ref('material') }}

),

unit as (

    select * from {{ ref('unit') }}

)

select
    material.source_system,
    material.material_id,
    material.material_name,
    material.material_name_zh,
    material.material_type,
    material.material_group,
    material.base_unit,
    unit.title_zh as base_unit_zh,
    material.net_weight,
    material.weight_unit,
    material.standard_price,
    material.currency,
    material.is_marked_for_deletion
from material
left join unit on material.base_unit = unit.unit
