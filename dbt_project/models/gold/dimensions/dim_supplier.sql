with record as (

    select
        supplier.*,
        supplier.supplier_id as record_number,
        cast(supplier.created_on as timestamp) as changed_at,
        golden.golden_id
    from {{ ref('supplier') }} as supplier
    inner join {{ ref('golden_supplier') }} as golden
        on supplier.source_system = golden.source_system and supplier.source_key = golden.source_key

),

survivor as (

    {{ survivors(
        'supplier',
        fields=['supplier_name', 'credit_code', 'country_code', 'city', 'street', 'postal_code', 'phone'],
        flags=['is_blocked'],
    ) }}

)

select
    golden_id as supplier_id,
    supplier_name,
    credit_code,
    country_code,
    city,
    street,
    postal_code,
    phone,
    is_blocked,
    record_count,
    records,
    sources
from survivor
