with source as (

    select * from {{ bronze('erp', 'business_partner_address') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['BusinessPartner', 'AddressID']) }} as source_key,
        {{ without_zeros('source.BusinessPartner') }} as business_partner_id,
        {{ without_zeros('source.AddressID') }} as address_id,
        upper({{ blank_to_null('source.Country') }}) as country_code,
        {{ blank_to_null('source.CityName') }} as city,
        {{ blank_to_null('source.StreetName') }} as street,
        {{ blank_to_null('source.PostalCode') }} as postal_code,
        {{ blank_to_null('source.PhoneNumber') }} as phone,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'business_partner_address') }} as source_row
    from source

)

select * from renamed
