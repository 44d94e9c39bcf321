with sales_order as (

    {{ latest('stg_erp__sales_order') }}

),

customer as (

    {{ latest('stg_erp__customer') }}

)

{{ conform__sales_order('sales_order', parents={'customer': 'customer'}) }}
