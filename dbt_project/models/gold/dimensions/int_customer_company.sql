{{ config(schema='staging', materialized='view') }}

with customer as (

    select * from {{ ref('customer') }}

),

/* a name leads to a credit code when any record with this name has one */
code_of_name as (

    select
        name_key,
        min(credit_code) as credit_code
    from customer
    where credit_code is not null and name_key is not null
    group by name_key

),

company as (

    select
        customer.source_system,
        customer.source_key,
        customer.customer_id as source_customer_id,
        customer.customer_name,
        customer.country_code,
        customer.city,
        customer.street,
        customer.phone,
        customer.is_blocked,
        customer.changed_at,
        customer._datong_ingested_at,
        coalesce(customer.credit_code, code_of_name.credit_code) as credit_code,
        case
            when customer.credit_code is not null then 'credit code'
            when code_of_name.credit_code is not null then 'name, to a credit code'
            when customer.name_key is not null then 'name'
            else 'alone'
        end as matched_by,
        coalesce(
            customer.credit_code,
            code_of_name.credit_code,
            concat('name ', customer.name_key),
            concat(customer.source_system, ' ', customer.source_key)
        ) as company_key
    from customer
    left join code_of_name on customer.name_key = code_of_name.name_key

)

select
    *,
    concat('C-', upper(substr(sha2(company_key, 256), 1, 12))) as customer_id
from company
