with source as (

    select * from {{ bronze('erp', 'business_partner_tax_number') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['BusinessPartner', 'BPTaxType']) }} as source_key,
        {{ without_zeros('source.BusinessPartner') }} as business_partner_id,
        {{ blank_to_null('source.BPTaxType') }} as tax_number_type,
        {{ credit_code('source.BPTaxNumber') }} as tax_number,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'business_partner_tax_number') }} as source_row
    from source

)

select * from renamed
