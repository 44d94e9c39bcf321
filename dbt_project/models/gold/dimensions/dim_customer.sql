with record as (

    select
        customer.*,
        customer.customer_id as record_number,
        golden.golden_id
    from {{ ref('customer') }} as customer
    inner join {{ ref('golden_customer') }} as golden
        on customer.source_system = golden.source_system and customer.source_key = golden.source_key

),

survivor as (

    {{ survivors(
        'customer',
        fields=['customer_name', 'credit_code', 'country_code', 'city', 'street', 'phone'],
        flags=['is_blocked'],
    ) }}

),

place as (

    select
        golden_id,
        max(source_system <> 'crm') as is_in_erp,
        max(source_system = 'crm') as is_in_crm
    from record
    group by golden_id

)

select
    survivor.golden_id as customer_id,
    survivor.customer_name,
    survivor.credit_code,
    survivor.country_code,
    survivor.city,
    survivor.street,
    survivor.phone,
    survivor.is_blocked,
    place.is_in_erp,
    place.is_in_crm,
    survivor.record_count,
    survivor.records,
    survivor.sources
from survivor
inner join place on survivor.golden_id = place.golden_id
