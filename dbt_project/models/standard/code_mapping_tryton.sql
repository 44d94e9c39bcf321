{{ config(enabled='tryton' in var('systems')) }}

{{ code_mapping('tryton') }}
