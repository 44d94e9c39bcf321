with item as (

    {{ latest('stg_erp__material_document_item') }}

),

document as (

    {{ latest('stg_erp__material_document') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        item.*,
        document.posted_on,
        document.document_on,
        document.reference_document,
        document.header_text,
        document.created_by,
        document.created_on,
        cast(item.quantity * case when item.direction = 'OUT' then -1 else 1 end as decimal(15, 3)) as signed_quantity,
        concat_ws('+', item._datong_batch_id, document._datong_batch_id) as _datong_version,
        {{ failures([
            required('item.material_document_id'),
            refers_to('item.material_document_id', 'document.material_document_id', 'material_document'),
            required('item.material_id'),
            refers_to('item.material_id', 'material.material_id', 'material'),
            known_code('item.movement_type', 'item.source_movement_type', 'movement_type'),
            known_code('item.direction', 'item.source_direction', 'direction'),
            positive('item.quantity'),
            known_code('item.quantity_unit', 'item.source_quantity_unit', 'unit'),
        ]) }}
    from item
    left join document
        on
            item.material_document_year = document.material_document_year
            and item.material_document_id = document.material_document_id
    left join material on item.material_id = material.material_id

)

select * from checked
