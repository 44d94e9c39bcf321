{{ config(enabled='tryton' in var('systems')) }}

with sale as (

    {{ latest('stg_tryton__sale') }}

),

party as (

    select * from {{ ref('int_tryton__party') }}

),

customer as (

    select partner_id as customer_id from party

),

currency as (

    {{ latest('stg_tryton__currency') }}

),

line_total as (

    select
        sale_id,
        sum(amount) as amount
    from {{ ref('int_tryton__sales_order_item') }}
    group by sale_id

),

joined as (

    select
        sale.source_system,
        sale.source_key,
        -- a sale has no number before it is quoted; Tryton shows its id in brackets until then
        coalesce(sale.number, concat('(', sale.sale_id, ')')) as sales_order_id,
        cast(null as string) as sales_order_type,
        sale.company_id as sales_organization_id,
        cast(null as string) as distribution_channel,
        party.partner_id as customer_id,
        sale.customer_order_number,
        coalesce(sale.ordered_on, sale.created_on) as ordered_on,
        sale.requested_delivery_on,
        -- Tryton keeps the total from the quotation on
        cast(coalesce(sale.amount, line_total.amount, 0) as decimal(18, 3)) as amount,
        currency.currency,
        currency.source_currency,
        sale.status,
        sale.source_status,
        case
            when sale.source_delivery_status is null then 'OPEN'
            else sale.delivery_status
        end as delivery_status,
        sale.source_delivery_status,
        false as is_delivery_blocked,
        cast(null as string) as production_status,
        sale.created_on,
        sale.created_by,
        sale.changed_at,
        sale._datong_batch_id,
        sale._datong_ingested_at,
        sale.source_row
    from sale
    left join party on sale.party_id = party.party_id
    left join currency on sale.currency_id = currency.currency_id
    left join line_total on sale.sale_id = line_total.sale_id

)

{{ conform__sales_order('joined', parents={'customer': 'customer'}) }}
