{{ config(schema='staging', materialized='view') }}

with known as (

    select
        source_system,
        max(posted_on) as known_on
    from {{ ref('material_movement') }}
    group by source_system
    union all
    select
        source_system,
        max(ordered_on) as known_on
    from {{ ref('sales_order') }}
    group by source_system
    union all
    select
        source_system,
        max({{ plant_day('changed_at') }}) as known_on
    from {{ ref('production_order') }}
    group by source_system

)

select
    source_system,
    max(known_on) as as_of_on
from known
group by source_system
