with opportunity as (

    {{ latest('stg_crm__opportunity') }}

),

checked as (

    select
        opportunity.*,
        opportunity.account_id as customer_id,
        opportunity.updated_at as changed_at,
        {{ failures([
            required('opportunity_id'),
            required('account_id'),
            known_code('currency', 'source_currency', 'currency'),
            not_negative('amount'),
        ]) }}
    from opportunity

)

select * from checked
