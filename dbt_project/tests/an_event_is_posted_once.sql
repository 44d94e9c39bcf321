-- Two documents in the ERP for one consumption of the shop floor: stock was taken twice.
select
    source_system,
    reference_document,
    sum(case when movement_type = 'PRODUCTION_ISSUE' then 1 else -1 end) as documents
from {{ ref('material_movement') }}
where
    movement_type in ('PRODUCTION_ISSUE', 'PRODUCTION_ISSUE_REVERSAL')
    and reference_document in (select event.event_id from {{ ref('material_consumption') }} as event)
group by source_system, reference_document
having sum(case when movement_type = 'PRODUCTION_ISSUE' then 1 else -1 end) > 1
