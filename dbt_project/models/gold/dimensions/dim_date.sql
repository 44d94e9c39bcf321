with day as (

    select explode(sequence(date '2020-01-01', date '2035-12-31', interval 1 day)) as date_on

)

select
    date_on,
    cast(date_format(date_on, 'yyyyMMdd') as int) as date_id,
    cast(year(date_on) as int) as year_number,
    cast(quarter(date_on) as int) as quarter_number,
    cast(month(date_on) as int) as month_number,
    cast(trunc(date_on, 'MM') as date) as month_on,
    cast(weekofyear(date_on) as int) as iso_week_number,
    cast(pmod(dayofweek(date_on) + 5, 7) + 1 as int) as iso_weekday_number,
    dayofweek(date_on) in (1, 7) as is_weekend
from day
