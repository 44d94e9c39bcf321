with source as (

    select * from {{ bronze('crm', 'account') }}

),

renamed as (

    select
        'crm' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as account_id,
        {{ blank_to_null('source.name') }} as account_name,
        {{ credit_code('source.credit_code') }} as credit_code,
        {{ blank_to_null('source.phone') }} as phone,
        {{ blank_to_null(half_width('source.city')) }} as city,
        {{ blank_to_null(half_width('source.street')) }} as street,
        lower({{ blank_to_null('source.owner_email') }}) as owner_email,
        {{ without_zeros('source.erp_customer_no') }} as erp_customer_id,
        coalesce(source.is_deleted, false) as is_deleted,
        try_cast(source.created_at as timestamp) as created_at,
        try_cast(source.updated_at as timestamp) as updated_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.updated_at as timestamp) as _recorded_at,
        {{ source_row('crm', 'account') }} as source_row
    from source

)

select * from renamed
