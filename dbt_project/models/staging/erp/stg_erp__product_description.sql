with source as (

    select * from {{ bronze('erp', 'product_description') }}

),

renamed as (

    select
        'erp' as source_system,
        {{ source_key(['Product', 'Language']) }} as source_key,
        {{ material_number('source.Product') }} as material_id,
        upper({{ blank_to_null('source.Language') }}) as language,
        {{ blank_to_null('source.ProductDescription') }} as material_name,
        source._datong_batch_id,
        source._datong_ingested_at,
        source._datong_operation,
        source._datong_ingested_at as _recorded_at,
        {{ source_row('erp', 'product_description') }} as source_row
    from source

)

select * from renamed
