with bill_of_material as (

    {{ latest('stg_erp__bill_of_material') }}

),

material as (

    {{ latest('stg_erp__product') }}

)

{{ conform__bill_of_material('bill_of_material', parents={'material': 'material'}) }}
