with bill_of_material_item as (

    {{ latest('stg_erp__bill_of_material_item') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        bill_of_material_item.*,
        {{ failures([
            required('bill_of_material_id'),
            required('item_id'),
            positive('quantity'),
            known_code('quantity_unit', 'source_quantity_unit', 'unit'),
            refers_to('component_material_id', 'material.material_id', 'material'),
        ]) }}
    from bill_of_material_item
    left join material on bill_of_material_item.component_material_id = material.material_id

)

select * from checked
