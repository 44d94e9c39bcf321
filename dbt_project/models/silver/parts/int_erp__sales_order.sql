with sales_order as (

    {{ latest('stg_erp__sales_order') }}

),

customer as (

    {{ latest('stg_erp__customer') }}

),

checked as (

    select
        sales_order.*,
        {{ failures([
            required('sales_order_id'),
            required('sales_order.customer_id'),
            required('ordered_on'),
            known_code('currency', 'source_currency', 'currency'),
            known_code('status', 'source_status', 'document_status'),
            refers_to('sales_order.customer_id', 'customer.customer_id', 'customer'),
        ]) }}
    from sales_order
    left join customer on sales_order.customer_id = customer.customer_id

)

select * from checked
