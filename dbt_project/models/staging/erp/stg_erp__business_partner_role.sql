with source as (

    select * from {{ bronze('erp', 'business_partner_role') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['BusinessPartner', 'BusinessPartnerRole']) }} as source_key,
        {{ without_zeros('source.BusinessPartner') }} as business_partner_id,
        partner_role.code as partner_role,
        source.BusinessPartnerRole as source_partner_role,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'business_partner_role') }} as source_row
    from source
    {{ crosswalk('erp', 'partner_role', 'source.BusinessPartnerRole', 'partner_role') }}

)

select * from renamed
