{{ config(enabled='tryton' in var('systems')) }}

with party as (

    select * from {{ ref('int_tryton__party') }}

),

purchase as (

    {{ latest('stg_tryton__purchase') }}

),

in_role as (

    -- Tryton does not tell customers from suppliers: who appears on a purchase is a supplier
    select party.*
    from party
    left semi join purchase on party.party_id = purchase.party_id

),

named as (

    select
        source_system,
        source_key,
        partner_id as supplier_id,
        party_name as supplier_name,
        credit_code,
        country_code,
        city,
        street,
        postal_code,
        phone,
        is_blocked,
        created_on,
        _datong_batch_id,
        _datong_ingested_at,
        source_row
    from in_role

)

{{ conform__supplier('named') }}
