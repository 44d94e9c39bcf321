with movement as (

    select
        source_system,
        plant_id,
        material_id,
        cast(trunc(posted_on, 'MM') as date) as month_on,
        sum(signed_quantity) as net_quantity,
        sum(case when signed_quantity > 0 then signed_quantity else 0 end) as received_quantity,
        sum(case when signed_quantity < 0 then signed_quantity else 0 end) * -1 as issued_quantity
    from {{ ref('fct_material_movement') }}
    group by source_system, plant_id, material_id, cast(trunc(posted_on, 'MM') as date)

),

book as (

    select
        source_system,
        plant_id,
        material_id,
        book_quantity
    from {{ ref('mart_inventory') }}

),

as_of as (

    select * from {{ ref('int_as_of') }}

),

month as (

    select
        movement.source_system,
        movement.plant_id,
        movement.material_id,
        explode(sequence(
            min(movement.month_on), cast(trunc(max(as_of.as_of_on), 'MM') as date), interval 1 month
        )) as month_on
    from movement
    inner join as_of on movement.source_system = as_of.source_system
    group by movement.source_system, movement.plant_id, movement.material_id

),

/* stock at a month's end is today's book stock less what moved since: right even without the first movements */
balance as (

    select
        month.source_system,
        month.plant_id,
        month.material_id,
        month.month_on,
        coalesce(movement.received_quantity, 0) as received_quantity,
        coalesce(movement.issued_quantity, 0) as issued_quantity,
        coalesce(movement.net_quantity, 0) as net_quantity,
        coalesce(book.book_quantity, 0) - coalesce(
            sum(movement.net_quantity) over (
                partition by month.source_system, month.plant_id, month.material_id
                order by month.month_on
                rows between 1 following and unbounded following
            ),
            0
        ) as closing_quantity
    from month
    left join movement
        on
            month.source_system = movement.source_system
            and month.plant_id = movement.plant_id
            and month.material_id = movement.material_id
            and month.month_on = movement.month_on
    left join book
        on
            month.source_system = book.source_system
            and month.plant_id = book.plant_id
            and month.material_id = book.material_id

),

averaged as (

    select
        *,
        closing_quantity - net_quantity as opening_quantity,
        (closing_quantity + closing_quantity - net_quantity) / 2 as average_quantity
    from balance

),

material as (

    select * from {{ ref('int_material_of_system') }}

)

select
    averaged.source_system,
    averaged.plant_id,
    averaged.material_id,
    material.material_name_zh,
    material.material_type,
    averaged.month_on,
    cast(averaged.opening_quantity as decimal(18, 3)) as opening_quantity,
    cast(averaged.received_quantity as decimal(18, 3)) as received_quantity,
    cast(averaged.issued_quantity as decimal(18, 3)) as issued_quantity,
    cast(averaged.closing_quantity as decimal(18, 3)) as closing_quantity,
    cast(averaged.average_quantity as decimal(18, 3)) as average_quantity,
    material.base_unit as quantity_unit,
    cast(averaged.issued_quantity * material.standard_price as decimal(18, 2)) as issued_amount,
    cast(averaged.average_quantity * material.standard_price as decimal(18, 2)) as average_amount,
    material.currency,
    cast(
        case when averaged.average_quantity > 0 then averaged.issued_quantity / averaged.average_quantity end
        as decimal(12, 4)
    ) as turnover_rate,
    cast(
        case
            when averaged.issued_quantity > 0 and averaged.average_quantity > 0
                then day(last_day(averaged.month_on)) * averaged.average_quantity / averaged.issued_quantity
        end as decimal(12, 1)
    ) as days_of_supply
from averaged
left join material
    on averaged.source_system = material.source_system and averaged.material_id = material.material_id
