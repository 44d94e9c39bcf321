{{ config(alias='contact') }}

{{ quarantined('contact') }}
