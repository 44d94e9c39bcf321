with dated as (

    select
        from_currency,
        to_currency,
        valid_from,
        lead(valid_from, 1, date '9999-12-31') over (
            partition by from_currency, to_currency order by valid_from
        ) as valid_until,
        rate
    from {{ ref('exchange_rate') }}

),

back as (

    select
        to_currency as from_currency,
        from_currency as to_currency,
        valid_from,
        valid_until,
        -- 1 / rate has four decimals on Sail, which gives a quotient four more than the dividend has
        cast(cast(1 as decimal(18, 8)) / rate as decimal(18, 8)) as rate
    from dated

),

same as (

    select
        currency as from_currency,
        currency as to_currency,
        date '0001-01-01' as valid_from,
        date '9999-12-31' as valid_until,
        cast(1 as decimal(18, 8)) as rate
    from {{ ref('currency') }}

),

joined as (

    select * from dated
    union all
    select * from same
    union all
    -- where both ways are quoted, the quoted one holds
    select back.*
    from back
    left anti join dated on back.from_currency = dated.from_currency and back.to_currency = dated.to_currency

)

select * from joined
