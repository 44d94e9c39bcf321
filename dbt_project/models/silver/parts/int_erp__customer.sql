with customer as (

    {{ latest('stg_erp__customer') }}

),

partner as (

    {{ latest('stg_erp__business_partner') }}

),

tax_number as (

    {{ latest('stg_erp__business_partner_tax_number') }}

),

address as (

    {{ latest('stg_erp__business_partner_address') }}

),

credit_code as (

    select
        business_partner_id,
        max(tax_number) as credit_code
    from tax_number
    where tax_number_type = 'CN0'
    group by business_partner_id

),

first_address as (

    select *
    from (
        select
            *,
            row_number() over (partition by business_partner_id order by address_id) as _place
        from address
    ) as placed
    where _place = 1

),

joined as (

    select
        customer.source_system,
        customer.source_key,
        customer.customer_id,
        coalesce(customer.customer_name, partner.partner_name) as customer_name,
        {{ company_name_key('coalesce(customer.customer_name, partner.partner_name)') }} as name_key,
        customer.customer_group,
        credit_code.credit_code as source_credit_code,
        case when {{ is_credit_code('credit_code.credit_code') }} then credit_code.credit_code end as credit_code,
        first_address.country_code,
        first_address.city,
        first_address.street,
        first_address.postal_code,
        first_address.phone,
        cast(null as string) as email,
        customer.customer_id as erp_customer_id,
        customer.is_order_blocked or coalesce(partner.is_blocked, false) as is_blocked,
        partner.created_on,
        {{ plant_midnight('partner.changed_on') }} as changed_at,
        customer._datong_batch_id,
        customer._datong_ingested_at,
        customer.source_row
    from customer
    left join partner on customer.customer_id = partner.business_partner_id
    left join credit_code on customer.customer_id = credit_code.business_partner_id
    left join first_address on customer.customer_id = first_address.business_partner_id

),

checked as (

    select
        *,
        {{ failures([
            required('customer_id'),
            required('customer_name'),
            valid_credit_code('credit_code', 'source_credit_code'),
        ]) }}
    from joined

)

select * from checked
