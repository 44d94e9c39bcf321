{{ config(schema='staging', materialized='view') }}

with material as (

    select * from {{ ref('material') }}

),

golden as (

    select * from {{ ref('golden_material') }}

),

survivor as (

    select * from {{ ref('dim_material') }}

)

/* what a material is, its golden record says; in what unit and at what price a system counts it, the system */
select
    material.source_system,
    material.material_id,
    survivor.golden_material_id,
    survivor.material_name,
    survivor.material_name_zh,
    survivor.material_type,
    material.base_unit,
    material.standard_price,
    material.currency
from material
inner join golden
    on material.source_system = golden.source_system and material.source_key = golden.source_key
inner join survivor on golden.golden_id = survivor.golden_material_id
