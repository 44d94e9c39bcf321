with contact as (

    {{ latest('stg_crm__contact') }}

),

checked as (

    select
        contact.*,
        contact.account_id as customer_id,
        contact.updated_at as changed_at,
        {{ failures([
            required('contact_id'),
            required('account_id'),
        ]) }}
    from contact

)

select * from checked
