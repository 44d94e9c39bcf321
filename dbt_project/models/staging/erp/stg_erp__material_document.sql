with source as (

    select * from {{ bronze('erp', 'material_document') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['MaterialDocumentYear', 'MaterialDocument']) }} as source_key,
        source.MaterialDocumentYear as material_document_year,
        {{ without_zeros('source.MaterialDocument') }} as material_document_id,
        try_cast(source.DocumentDate as date) as document_on,
        try_cast(source.PostingDate as date) as posted_on,
        try_cast(source.CreationDate as date) as created_on,
        {{ blank_to_null('source.CreatedByUser') }} as created_by,
        {{ blank_to_null('source.MaterialDocumentHeaderText') }} as header_text,
        {{ blank_to_null('source.ReferenceDocument') }} as reference_document,
        {{ blank_to_null('source.GoodsMovementCode') }} as goods_movement_code,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'material_document') }} as source_row
    from source

)

select * from renamed
