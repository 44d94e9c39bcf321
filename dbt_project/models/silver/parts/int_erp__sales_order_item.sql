with sales_order_item as (

    {{ latest('stg_erp__sales_order_item') }}

),

sales_order as (

    {{ latest('stg_erp__sales_order') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        sales_order_item.*,
        sales_order_item.rejection_reason is not null as is_rejected,
        {{ failures([
            required('sales_order_item.sales_order_id'),
            required('sales_order_item_id'),
            positive('quantity'),
            known_code('quantity_unit', 'source_quantity_unit', 'unit'),
            known_code('sales_order_item.currency', 'sales_order_item.source_currency', 'currency'),
            refers_to('sales_order_item.sales_order_id', 'sales_order.sales_order_id', 'sales_order'),
            refers_to('sales_order_item.material_id', 'material.material_id', 'material'),
        ]) }}
    from sales_order_item
    left join sales_order on sales_order_item.sales_order_id = sales_order.sales_order_id
    left join material on sales_order_item.material_id = material.material_id

)

select * from checked
