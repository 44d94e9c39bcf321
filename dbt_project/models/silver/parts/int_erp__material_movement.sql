{{ config(materialized='view') }}

with item as (

    {{ latest('stg_erp__material_document_item') }}

),

document as (

    {{ latest('stg_erp__material_document') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

with_header as (

    select
        item.*,
        document.posted_on,
        document.document_on,
        document.reference_document,
        document.header_text,
        document.created_by,
        document.created_on,
        document.source_row as document_row,
        cast(item.quantity * case when item.direction = 'OUT' then -1 else 1 end as decimal(15, 3)) as signed_quantity,
        concat_ws('+', item._datong_batch_id, document._datong_batch_id) as _datong_version
    from item
    left join document
        on
            item.material_document_year = document.material_document_year
            and item.material_document_id = document.material_document_id

)

{{ conform__material_movement(
    'with_header',
    parents={'material_document': 'document', 'material': 'material'},
    sent=['source_row', 'document_row'],
) }}
