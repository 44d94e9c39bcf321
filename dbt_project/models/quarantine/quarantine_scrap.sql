{{ config(alias='scrap') }}

{{ quarantined('scrap') }}
