with partner as (

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

/* a number or an address can come before the partner itself */
known as (

    select business_partner_id from partner
    union
    select business_partner_id from credit_code
    union
    select business_partner_id from first_address

),

joined as (

    select
        known.business_partner_id,
        partner.partner_name,
        credit_code.credit_code,
        first_address.country_code,
        first_address.city,
        first_address.street,
        first_address.postal_code,
        first_address.phone,
        coalesce(partner.is_blocked, false) as is_blocked,
        partner.created_on,
        {{ plant_midnight('partner.changed_on') }} as changed_at,
        partner.source_row
    from known
    left join partner on known.business_partner_id = partner.business_partner_id
    left join credit_code on known.business_partner_id = credit_code.business_partner_id
    left join first_address on known.business_partner_id = first_address.business_partner_id

)

select * from joined
