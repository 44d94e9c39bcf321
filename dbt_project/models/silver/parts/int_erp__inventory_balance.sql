with inventory_balance as (

    {{ latest('stg_erp__material_stock') }}

),

material as (

    {{ latest('stg_erp__product') }}

),

checked as (

    select
        inventory_balance.*,
        {{ failures([
            required('inventory_balance.material_id'),
            required('plant_id'),
            known_code('quantity_unit', 'source_quantity_unit', 'unit'),
            known_code('stock_type', 'source_stock_type', 'stock_type'),
            refers_to('inventory_balance.material_id', 'material.material_id', 'material'),
        ]) }}
    from inventory_balance
    left join material on inventory_balance.material_id = material.material_id

)

select * from checked
