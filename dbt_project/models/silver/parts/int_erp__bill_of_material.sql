with bill_of_material as (

    {{ latest('stg_erp__bill_of_material') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        bill_of_material.*,
        {{ failures([
            required('bill_of_material_id'),
            required('bill_of_material.material_id'),
            positive('base_quantity'),
            known_code('base_quantity_unit', 'source_base_quantity_unit', 'unit'),
            refers_to('bill_of_material.material_id', 'material.material_id', 'material'),
        ]) }}
    from bill_of_material
    left join material on bill_of_material.material_id = material.material_id

)

select * from checked
