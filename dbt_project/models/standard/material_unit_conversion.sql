with own as (

    select * from {{ ref('material_unit') }}

),

general as (

    select * from {{ ref('unit_conversion') }}

),

/* a box is 10 pieces, and so 5 pairs */
into_other_units as (

    select
        own.source_system,
        own.material_id,
        own.unit as from_unit,
        general.to_unit,
        cast(own.factor * cast(general.factor as decimal(18, 9)) as decimal(28, 12)) as factor
    from own
    inner join general on own.base_unit = general.from_unit

),

/* and a pallet is 24 boxes */
into_own_units as (

    select
        one.source_system,
        one.material_id,
        one.unit as from_unit,
        other.unit as to_unit,
        cast(one.factor / other.factor as decimal(28, 12)) as factor
    from own as one
    inner join own as other
        on
            one.source_system = other.source_system
            and one.material_id = other.material_id
            and one.base_unit = other.base_unit

),

back as (

    select
        source_system,
        material_id,
        to_unit as from_unit,
        from_unit as to_unit,
        -- 1 / factor has four decimals on Sail, which gives a quotient four more than the dividend has
        cast(cast(1 as decimal(28, 12)) / factor as decimal(28, 12)) as factor
    from into_other_units

),

joined as (

    select * from into_other_units
    union all
    select * from into_own_units
    union all
    select * from back

)

select * from joined
