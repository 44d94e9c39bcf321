{{ config(alias='work_order') }}

{{ quarantined('work_order') }}
