with source as (

    select * from {{ bronze('erp', 'business_partner') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['BusinessPartner']) }} as source_key,
        {{ without_zeros('source.BusinessPartner') }} as business_partner_id,
        {{ blank_to_null('source.BusinessPartnerCategory') }} as partner_category,
        coalesce(
            {{ blank_to_null('source.OrganizationBPName1') }},
            {{ blank_to_null('source.BusinessPartnerFullName') }}
        ) as partner_name,
        {{ blank_to_null('source.SearchTerm1') }} as search_term,
        try_cast(source.BusinessPartnerIsBlocked as boolean) as is_blocked,
        try_cast(source.CreationDate as date) as created_on,
        try_cast(source.LastChangeDate as date) as changed_on,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'business_partner') }} as source_row
    from source

)

select * from renamed
