with source as (

    select * from {{ bronze('crm', 'opportunity') }}

),

renamed as (

    select
        'crm' as source_system,
        {{ source_key(['id']) }} as source_key,
        cast(source.id as string) as opportunity_id,
        cast(source.account_id as string) as account_id,
        {{ blank_to_null('source.title') }} as title,
        {{ blank_to_null('source.stage') }} as stage,
        try_cast(source.amount as decimal(18, 2)) as amount,
        currency.code as currency,
        source.currency as source_currency,
        try_cast(source.probability as int) as probability,
        try_cast(source.expected_close_on as date) as expected_close_on,
        try_cast(source.updated_at as timestamp) as updated_at,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        try_cast(source.updated_at as timestamp) as _recorded_at,
        {{ source_row('crm', 'opportunity') }} as source_row
    from source
    {{ crosswalk('crm', 'currency', 'source.currency', 'currency') }}

)

select * from renamed
