with record as (

    select * from {{ ref('int_customer_company') }}

),

/* the ERP knows a customer best, then the rest by name; within a system the record changed last */
placed as (

    select
        *,
        row_number() over (
            partition by customer_id
            order by
                case source_system when '{{ var("shop_floor_erp") }}' then 0 when 'crm' then 2 else 1 end,
                source_system,
                changed_at desc,
                source_key
        ) as place
    from record

)

select
    customer_id,
    min_by(customer_name, place) as customer_name,
    min_by(credit_code, case when credit_code is not null then place end) as credit_code,
    min_by(country_code, case when country_code is not null then place end) as country_code,
    min_by(city, case when city is not null then place end) as city,
    min_by(street, case when street is not null then place end) as street,
    min_by(phone, case when phone is not null then place end) as phone,
    coalesce(max(is_blocked), false) as is_blocked,
    max(source_system <> 'crm') as is_in_erp,
    max(source_system = 'crm') as is_in_crm,
    cast(count(*) as int) as record_count,
    concat_ws(', ', array_sort(collect_set(concat(source_system, ':', source_customer_id)))) as records
from placed
group by customer_id
