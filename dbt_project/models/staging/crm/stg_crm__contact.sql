with source as (

    select * from {{ bronze('crm', 'contact') }}

),

renamed as (

    select
        'crm' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as contact_id,
        cast(source.account_id as string) as account_id,
        {{ blank_to_null('source.full_name') }} as full_name,
        {{ blank_to_null('source.phone') }} as phone,
        {{ blank_to_null('source.mobile') }} as mobile,
        lower({{ blank_to_null('source.email') }}) as email,
        try_cast(source.updated_at as timestamp) as updated_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.updated_at as timestamp) as _recorded_at,
        {{ source_row('crm', 'contact') }} as source_row
    from source

)

select * from renamed
