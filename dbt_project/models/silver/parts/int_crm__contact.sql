with contact as (

    {{ latest('stg_crm__contact') }}

),

named as (

    select
        *,
        account_id as customer_id,
        updated_at as changed_at
    from contact

)

{{ conform__contact('named') }}
