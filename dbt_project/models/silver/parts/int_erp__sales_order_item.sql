with sales_order_item as (

    {{ latest('stg_erp__sales_order_item') }}

),

sales_order as (

    {{ latest('stg_erp__sales_order') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

named as (

    select
        *,
        rejection_reason is not null as is_rejected
    from sales_order_item

)

{{ conform__sales_order_item('named', parents={'sales_order': 'sales_order', 'material': 'material'}) }}
