{{ config(alias='quality_result') }}

{{ quarantined('quality_result') }}
