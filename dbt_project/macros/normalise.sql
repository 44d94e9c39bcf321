{#
    One way to write a value: numbers without padding, full-width characters as half-width, companies and telephones
    so that two spellings of the same one are equal. Every engine gives the same result: no NFKC function is assumed.
#}

{% macro without_zeros(value) -%}
    {#- A document number as people write it: 0000004711 is 4711. -#}
    nullif(regexp_replace(trim({{ value }}), '^0+', ''), '')
{%- endmacro %}


{% macro material_number(value) -%}
    {#- Upper case; padding is taken off numeric ones only, as SAP pads only those. -#}
    case
        when trim({{ value }}) rlike '^[0-9]+$' then {{ without_zeros(value) }}
        else nullif(upper(trim({{ value }})), '')
    end
{%- endmacro %}


{% macro blank_to_null(value) -%}
    nullif(trim({{ value }}), '')
{%- endmacro %}


{% macro half_width(value) -%}
    {#- Full-width forms U+FF01 to U+FF5E and the ideographic space as ASCII: the part of NFKC that addresses need. -#}
    {%- set full = '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　' -%}
    {%- set half = '!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ' -%}
    translate({{ value }}, '{{ full }}', '{{ half }}')
{%- endmacro %}


{% macro company_name_key(name) -%}
    {#- A company's name to match by: half-width, upper case, without blanks, punctuation and the legal form. -#}
    nullif(
        regexp_replace(
            regexp_replace(upper({{ half_width(name) }}), r'[\s\p{Z}.,·•()\-_&]+', ''),
            r'(股份有限公司|有限责任公司|集团有限公司|有限公司|公司|COMPANYLIMITED|COLTD|LIMITED|LTD|CORPORATION|CORP|INC|GMBH)$',
            ''
        ),
        ''
    )
{%- endmacro %}


{% macro phone_number(value) -%}
    {#- Digits only, with the country code; E.164 without the plus. A number without one is Chinese. -#}
    {%- set digits -%}
        regexp_replace({{ half_width(value) }}, r'[^0-9]', '')
    {%- endset -%}
    case
        when {{ digits }} = '' then null
        when {{ digits }} like '0086%' then concat('+', substr({{ digits }}, 3))
        when {{ half_width(value) }} rlike r'^\s*\+' then concat('+', {{ digits }})
        when {{ digits }} like '86%' and length({{ digits }}) > 11 then concat('+', {{ digits }})
        else concat('+86', regexp_replace({{ digits }}, '^0', ''))
    end
{%- endmacro %}


{% macro credit_code(value) -%}
    {#- The unified social credit code as written: half-width, upper case, without blanks. -#}
    nullif(regexp_replace(upper({{ half_width(value) }}), r'\s+', ''), '')
{%- endmacro %}


{% macro is_credit_code(code) -%}
    {#- GB 32100-2015: 18 characters of a set of 31, the last one a check character: the weights are powers of 3
        modulo 31, and the sum of all 17 with the check value is divisible by 31. -#}
    {%- set alphabet = '0123456789ABCDEFGHJKLMNPQRTUWXY' -%}
    {%- set weights = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28, 1] -%}
    (
        {{ code }} rlike '^[0-9A-HJ-NP-RTUW-Y]{18}$'
        and (
            {%- for weight in weights %}
            {{ '+ ' if not loop.first }}{{ weight }} * (locate(substr({{ code }}, {{ loop.index }}, 1), '{{ alphabet }}') - 1)
            {%- endfor %}
        ) % 31 = 0
    )
{%- endmacro %}


{% macro plant_midnight(day) -%}
    {#- The first moment of a day in the plant's time zone, UTC. -#}
    to_utc_timestamp(cast({{ day }} as timestamp), '{{ var("plant_time_zone") }}')
{%- endmacro %}


{% macro plant_day(moment) -%}
    {#- The day that it was in the plant at a moment in UTC. -#}
    cast(from_utc_timestamp({{ moment }}, '{{ var("plant_time_zone") }}') as date)
{%- endmacro %}


{% macro production_status(orders, started, finished) -%}
    {#- How far the production orders of a sales order or item are; null when it has none. -#}
    case
        when coalesce({{ orders }}, 0) = 0 then null
        when {{ finished }} = {{ orders }} then 'PRODUCED'
        when {{ started }} > 0 then 'IN_PRODUCTION'
        else 'NOT_STARTED'
    end
{%- endmacro %}
