{{ config(enabled='tryton' in var('systems')) }}

{#- Who is a customer is told by the sales: every party that still exists and appears on one that still exists is
    published or quarantined. Counted from bronze, not from what the models made. -#}

with party as (

    {{ alive('party') }}

),

sale as (

    {{ alive('sale') }}

),

counted as (

    select
        (
            select count(*)
            from party
            left semi join sale on party.id = sale.party
        ) as parties_in,
        (
            select count(*)
            from {{ ref('customer') }}
            where source_system = 'tryton'
        ) as published,
        (
            select count(*)
            from {{ ref('quarantine_customer') }}
            where source_system = 'tryton' and is_withheld
        ) as quarantined

)

select *
from counted
where parties_in <> published + quarantined
