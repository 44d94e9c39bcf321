with bill_of_material_item as (

    {{ latest('stg_erp__bill_of_material_item') }}

),

material as (

    {{ latest('stg_erp__product') }}

)

{{ conform__bill_of_material_item('bill_of_material_item', parents={'material': 'material'}) }}
