with customer as (

    {{ latest('stg_erp__customer') }}

),

partner as (

    select * from {{ ref('int_erp__business_partner') }}

),

joined as (

    select
        customer.source_system,
        customer.source_key,
        customer.customer_id,
        coalesce(customer.customer_name, partner.partner_name) as customer_name,
        customer.customer_group,
        partner.credit_code,
        partner.country_code,
        partner.city,
        partner.street,
        partner.postal_code,
        partner.phone,
        cast(null as string) as email,
        customer.customer_id as erp_customer_id,
        customer.is_order_blocked or coalesce(partner.is_blocked, false) as is_blocked,
        partner.created_on,
        partner.changed_at,
        customer._datong_batch_id,
        customer._datong_ingested_at,
        customer.source_row,
        partner.source_row as partner_row
    from customer
    left join partner on customer.customer_id = partner.business_partner_id

)

{{ conform__customer('joined', sent=['source_row', 'partner_row']) }}
