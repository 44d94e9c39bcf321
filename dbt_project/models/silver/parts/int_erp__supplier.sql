with supplier_role as (

    {{ latest('stg_erp__business_partner_role') }}

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
        supplier_role.source_system,
        supplier_role.source_key,
        supplier_role.business_partner_id as supplier_id,
        partner.partner_name as supplier_name,
        credit_code.credit_code as source_credit_code,
        case when {{ is_credit_code('credit_code.credit_code') }} then credit_code.credit_code end as credit_code,
        first_address.country_code,
        first_address.city,
        first_address.street,
        first_address.postal_code,
        first_address.phone,
        coalesce(partner.is_blocked, false) as is_blocked,
        partner.created_on,
        supplier_role._datong_batch_id,
        supplier_role._datong_ingested_at,
        supplier_role.source_row
    from supplier_role
    left join partner on supplier_role.business_partner_id = partner.business_partner_id
    left join credit_code on supplier_role.business_partner_id = credit_code.business_partner_id
    left join first_address on supplier_role.business_partner_id = first_address.business_partner_id
    where supplier_role.partner_role = 'SUPPLIER'

),

checked as (

    select
        *,
        {{ failures([
            required('supplier_id'),
            required('supplier_name'),
            valid_credit_code('credit_code', 'source_credit_code'),
        ]) }}
    from joined

)

select * from checked
