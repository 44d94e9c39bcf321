with account as (

    {{ latest('stg_crm__account') }}

),

named as (

    select
        source_system,
        source_key,
        account_id as customer_id,
        account_name as customer_name,
        cast(null as string) as customer_group,
        credit_code,
        cast(null as string) as country_code,
        city,
        street,
        cast(null as string) as postal_code,
        phone,
        owner_email as email,
        erp_customer_id,
        false as is_blocked,
        {{ plant_day('created_at') }} as created_on,
        updated_at as changed_at,
        _datong_batch_id,
        _datong_ingested_at,
        source_row
    from account

)

{{ conform__customer('named') }}
