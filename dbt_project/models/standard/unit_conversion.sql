with unit as (

    select * from {{ ref('unit') }}
    where factor is not null

)

select
    from_unit.unit as from_unit,
    to_unit.unit as to_unit,
    cast(from_unit.factor / to_unit.factor as decimal(28, 12)) as factor
from unit as from_unit
inner join unit as to_unit on from_unit.dimension = to_unit.dimension
