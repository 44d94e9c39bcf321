with opportunity as (

    {{ latest('stg_crm__opportunity') }}

),

named as (

    select
        *,
        account_id as customer_id,
        updated_at as changed_at
    from opportunity

)

{{ conform__opportunity('named') }}
