{#
    Check characters. Generated from platform/datong_platform/standard/rules.py by `datong standard compile`;
    change it there.
#}

{% macro is_credit_code(code) -%}
    (
        {{ code }} rlike '^[0-9A-HJ-NP-RTUW-Y]{18}$'
        and (
            1 * (locate(substr({{ code }}, 1, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 3 * (locate(substr({{ code }}, 2, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 9 * (locate(substr({{ code }}, 3, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 27 * (locate(substr({{ code }}, 4, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 19 * (locate(substr({{ code }}, 5, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 26 * (locate(substr({{ code }}, 6, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 16 * (locate(substr({{ code }}, 7, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 17 * (locate(substr({{ code }}, 8, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 20 * (locate(substr({{ code }}, 9, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 29 * (locate(substr({{ code }}, 10, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 25 * (locate(substr({{ code }}, 11, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 13 * (locate(substr({{ code }}, 12, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 8 * (locate(substr({{ code }}, 13, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 24 * (locate(substr({{ code }}, 14, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 10 * (locate(substr({{ code }}, 15, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 30 * (locate(substr({{ code }}, 16, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 28 * (locate(substr({{ code }}, 17, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
            + 1 * (locate(substr({{ code }}, 18, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
        ) % 31 = 0
    )
{%- endmacro %}


{% macro is_resident_id(code) -%}
    (
        {{ code }} rlike '^[1-8][0-9]{5}(18|19|20)[0-9]{9}[0-9X]$'
        and try_cast(concat_ws('-', substr({{ code }}, 7, 4), substr({{ code }}, 11, 2), substr({{ code }}, 13, 2)) as date) is not null
        and substr('10X98765432', (
            7 * (locate(substr({{ code }}, 1, 1), '0123456789') - 1)
            + 9 * (locate(substr({{ code }}, 2, 1), '0123456789') - 1)
            + 10 * (locate(substr({{ code }}, 3, 1), '0123456789') - 1)
            + 5 * (locate(substr({{ code }}, 4, 1), '0123456789') - 1)
            + 8 * (locate(substr({{ code }}, 5, 1), '0123456789') - 1)
            + 4 * (locate(substr({{ code }}, 6, 1), '0123456789') - 1)
            + 2 * (locate(substr({{ code }}, 7, 1), '0123456789') - 1)
            + 1 * (locate(substr({{ code }}, 8, 1), '0123456789') - 1)
            + 6 * (locate(substr({{ code }}, 9, 1), '0123456789') - 1)
            + 3 * (locate(substr({{ code }}, 10, 1), '0123456789') - 1)
            + 7 * (locate(substr({{ code }}, 11, 1), '0123456789') - 1)
            + 9 * (locate(substr({{ code }}, 12, 1), '0123456789') - 1)
            + 10 * (locate(substr({{ code }}, 13, 1), '0123456789') - 1)
            + 5 * (locate(substr({{ code }}, 14, 1), '0123456789') - 1)
            + 8 * (locate(substr({{ code }}, 15, 1), '0123456789') - 1)
            + 4 * (locate(substr({{ code }}, 16, 1), '0123456789') - 1)
            + 2 * (locate(substr({{ code }}, 17, 1), '0123456789') - 1)
        ) % 11 + 1, 1) = substr({{ code }}, 18, 1)
    )
{%- endmacro %}


{% macro is_gtin(code) -%}
    (
        {{ code }} rlike '^([0-9]{8}|[0-9]{12}|[0-9]{13}|[0-9]{14})$'
        and (
            3 * (locate(substr(lpad({{ code }}, 14, '0'), 1, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 2, 1), '0123456789') - 1)
            + 3 * (locate(substr(lpad({{ code }}, 14, '0'), 3, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 4, 1), '0123456789') - 1)
            + 3 * (locate(substr(lpad({{ code }}, 14, '0'), 5, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 6, 1), '0123456789') - 1)
            + 3 * (locate(substr(lpad({{ code }}, 14, '0'), 7, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 8, 1), '0123456789') - 1)
            + 3 * (locate(substr(lpad({{ code }}, 14, '0'), 9, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 10, 1), '0123456789') - 1)
            + 3 * (locate(substr(lpad({{ code }}, 14, '0'), 11, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 12, 1), '0123456789') - 1)
            + 3 * (locate(substr(lpad({{ code }}, 14, '0'), 13, 1), '0123456789') - 1)
            + 1 * (locate(substr(lpad({{ code }}, 14, '0'), 14, 1), '0123456789') - 1)
        ) % 10 = 0
    )
{%- endmacro %}
