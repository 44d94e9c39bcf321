with inventory_balance as (

    {{ latest('stg_erp__material_stock') }}

),

material as (

    {{ latest('stg_erp__product') }}

)

{{ conform__inventory_balance('inventory_balance', parents={'material': 'material'}) }}
