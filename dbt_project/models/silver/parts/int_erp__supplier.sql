with supplier_role as (

    {{ latest('stg_erp__business_partner_role') }}

),

partner as (

    select * from {{ ref('int_erp__business_partner') }}

),

joined as (

    select
        supplier_role.source_system,
        supplier_role.source_key,
        supplier_role.business_partner_id as supplier_id,
        partner.partner_name as supplier_name,
        partner.credit_code,
        partner.country_code,
        partner.city,
        partner.street,
        partner.postal_code,
        partner.phone,
        coalesce(partner.is_blocked, false) as is_blocked,
        partner.created_on,
        supplier_role._datong_batch_id,
        supplier_role._datong_ingested_at,
        supplier_role.source_row,
        partner.source_row as partner_row
    from supplier_role
    left join partner on supplier_role.business_partner_id = partner.business_partner_id
    where supplier_role.partner_role = 'SUPPLIER'

)

{{ conform__supplier('joined', sent=['source_row', 'partner_row']) }}
