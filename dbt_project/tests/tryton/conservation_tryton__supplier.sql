{{ config(enabled='tryton' in var('systems')) }}

{#- Who is a supplier is told by the purchases: every party that still exists and appears on one that still exists is
    published or quarantined. Counted from bronze, not from what the models made. -#}

with party as (

    {{ alive('party') }}

),

purchase as (

    {{ alive('purchase') }}

),

counted as (

    select
        (
            select count(*)
            from party
            left semi join purchase on party.id = purchase.party
        ) as parties_in,
        (
            select count(*)
            from {{ ref('supplier') }}
            where source_system = 'tryton'
        ) as published,
        (
            select count(*)
            from {{ ref('quarantine_supplier') }}
            where source_system = 'tryton' and is_withheld
        ) as quarantined

)

select *
from counted
where parties_in <> published + quarantined
