with record as (

    select
        material.*,
        material.material_id as record_number,
        golden.golden_id
    from {{ ref('material') }} as material
    inner join {{ ref('golden_material') }} as golden
        on material.source_system = golden.source_system and material.source_key = golden.source_key

),

survivor as (

    {{ survivors(
        'material',
        fields=[
            'material_name',
            'material_name_zh',
            'material_type',
            'material_group',
            'gtin',
            'base_unit',
            'net_weight',
            'weight_unit',
            'standard_price',
            'currency',
        ],
        flags=['is_marked_for_deletion'],
        together=[['net_weight', 'weight_unit'], ['base_unit', 'standard_price', 'currency']],
    ) }}

),

unit as (

    select * from {{ ref('unit') }}

)

select
    survivor.golden_id as golden_material_id,
    survivor.material_name,
    survivor.material_name_zh,
    survivor.material_type,
    survivor.material_group,
    survivor.gtin,
    survivor.base_unit,
    unit.title_zh as base_unit_zh,
    survivor.net_weight,
    survivor.weight_unit,
    survivor.standard_price,
    survivor.currency,
    survivor.is_marked_for_deletion,
    survivor.record_count,
    survivor.records,
    survivor.sources
from survivor
left join unit on survivor.base_unit = unit.unit
