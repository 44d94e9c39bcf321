with work_order as (

    {{ latest('stg_mes__work_order') }}

)

{{ conform__work_order('work_order') }}
