{{ config(enabled='tryton' in var('systems')) }}

with product as (

    {{ latest('stg_tryton__product') }}

),

template as (

    {{ latest('stg_tryton__product_template') }}

),

unit as (

    {{ latest('stg_tryton__uom') }}

),

joined as (

    select
        product.*,
        -- a product without a code is named by its id in brackets, as Tryton names records without a number
        coalesce(product.product_code, concat('(', product.product_id, ')')) as material_id,
        template.material_name,
        template.source_product_type,
        template.is_salable,
        template.is_producible,
        template.changed_at as template_changed_at,
        unit.unit as base_unit,
        unit.source_unit as source_base_unit,
        unit.factor as base_factor
    from product
    left join template on product.template_id = template.template_id
    left join unit on template.base_unit_id = unit.unit_id

)

select * from joined
