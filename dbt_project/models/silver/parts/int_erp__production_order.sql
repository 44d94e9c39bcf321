with production_order as (

    {{ latest('stg_erp__production_order') }}

),

material as (

    {{ latest('stg_erp__product') }}

)

{{ conform__production_order('production_order', parents={'material': 'material'}, computed=['status']) }}
