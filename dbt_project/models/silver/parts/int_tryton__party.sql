{{ config(enabled='tryton' in var('systems')) }}

with party as (

    {{ latest('stg_tryton__party') }}

),

identifier as (

    {{ latest('stg_tryton__party_identifier') }}

),

address as (

    {{ latest('stg_tryton__party_address') }}

),

country as (

    {{ latest('stg_tryton__country') }}

),

mechanism as (

    {{ latest('stg_tryton__contact_mechanism') }}

),

credit_code as (

    select
        party_id,
        max(identifier) as credit_code
    from identifier
    where identifier_type = 'CREDIT_CODE' and is_active
    group by party_id

),

first_address as (

    select *
    from (
        select
            *,
            row_number() over (partition by party_id order by coalesce(sequence, 0), cast(address_id as int)) as _place
        from address
        where is_active
    ) as placed
    where _place = 1

),

first_mechanism as (

    select
        party_id,
        max(case when is_phone then value end) as phone,
        max(case when mechanism = 'email' then value end) as email
    from (
        select
            *,
            mechanism in ('phone', 'mobile') as is_phone,
            row_number() over (
                partition by party_id, case when mechanism = 'mobile' then 'phone' else mechanism end
                order by coalesce(sequence, 0), cast(contact_mechanism_id as int)
            ) as _place
        from mechanism
        where is_active
    ) as placed
    where _place = 1
    group by party_id

),

joined as (

    select
        party.*,
        coalesce(party.party_code, concat('(', party.party_id, ')')) as partner_id,
        credit_code.credit_code,
        country.country_code,
        first_address.city,
        first_address.street,
        first_address.postal_code,
        first_mechanism.phone,
        first_mechanism.email,
        not party.is_active as is_blocked
    from party
    left join credit_code on party.party_id = credit_code.party_id
    left join first_address on party.party_id = first_address.party_id
    left join country on first_address.country_id = country.country_id
    left join first_mechanism on party.party_id = first_mechanism.party_id

)

select * from joined
