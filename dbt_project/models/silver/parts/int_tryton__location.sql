{{ config(enabled='tryton' in var('systems')) }}

with location as (

    {{ latest('stg_tryton__stock_location') }}

),

named as (

    select
        *,
        coalesce(location_code, concat('(', location_id, ')')) as storage_location_id
    from location

),

within as (

    -- a nested set: a location lies within the warehouse whose places enclose its own
    select
        inner_location.*,
        inner_location.location_type = 'storage' as is_stock,
        warehouse.storage_location_id as plant_id
    from named as inner_location
    left join named as warehouse
        on
            warehouse.location_type = 'warehouse'
            and inner_location.first_place >= warehouse.first_place
            and inner_location.last_place <= warehouse.last_place

)

select * from within
