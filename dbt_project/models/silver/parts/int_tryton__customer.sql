{{ config(enabled='tryton' in var('systems')) }}

with party as (

    select * from {{ ref('int_tryton__party') }}

),

sale as (

    {{ latest('stg_tryton__sale') }}

),

in_role as (

    -- Tryton does not tell customers from suppliers: who appears on a sale is a customer
    select party.*
    from party
    left semi join sale on party.party_id = sale.party_id

),

named as (

    select
        source_system,
        source_key,
        partner_id as customer_id,
        party_name as customer_name,
        cast(null as string) as customer_group,
        credit_code,
        country_code,
        city,
        street,
        postal_code,
        phone,
        email,
        -- the number by which a CRM knows this customer of the sandbox's ERP; Tryton's numbers are another series
        cast(null as string) as erp_customer_id,
        is_blocked,
        created_on,
        changed_at,
        _datong_batch_id,
        _datong_ingested_at,
        source_row
    from in_role

)

{{ conform__customer('named') }}
