{#
    One way to write a value. Generated from platform/datong_platform/standard/normalise.py by
    `datong standard compile`; change it there.
#}

{% macro blank_to_null(value) -%}
    {#- without blanks around; blank is null: 去首尾空白，空串为空. -#}
    nullif(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), '')
{%- endmacro %}


{% macro half_width(value) -%}
    {#- full-width characters as half-width: 全角转半角. -#}
    translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92)))
{%- endmacro %}


{% macro clean_text(value) -%}
    {#- half-width, no invisible characters, single blanks: 清理文本. -#}
    nullif(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from regexp_replace(regexp_replace(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), r'[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{FEFF}]', ''), r'[\s\p{Z}]+', ' ')), '')
{%- endmacro %}


{% macro upper(value) -%}
    {#- upper case: 转大写. -#}
    upper(nullif(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), ''))
{%- endmacro %}


{% macro lower(value) -%}
    {#- lower case: 转小写. -#}
    lower(nullif(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), ''))
{%- endmacro %}


{% macro compact(value) -%}
    {#- half-width, no blanks, upper case: 去空白并转大写. -#}
    nullif(upper(regexp_replace(regexp_replace(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), r'[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{FEFF}]', ''), r'[\s\p{Z}]+', '')), '')
{%- endmacro %}


{% macro without_zeros(value) -%}
    {#- without leading zeros: 去前导零. -#}
    nullif(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), '^0+', ''), '')
{%- endmacro %}


{% macro material_number(value) -%}
    {#- upper case, numeric ones without padding: 物料编码. -#}
    case
        when trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}) rlike '^[0-9]+$' then nullif(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), '^0+', ''), '')
        else upper(nullif(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), ''))
    end
{%- endmacro %}


{% macro company_name_key(value) -%}
    {#- company's name to match by: 企业名称匹配键. -#}
    nullif(regexp_replace(regexp_replace(upper(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92)))), r'[\s\p{Z}.,·•()\-_&]+', ''), '(股份有限公司|有限责任公司|集团有限公司|有限公司|公司|COMPANYLIMITED|COLTD|LIMITED|LTD|CORPORATION|CORP|INC|GMBH)$', ''), '')
{%- endmacro %}


{% macro phone_number(value) -%}
    {#- telephone number by E.164: 电话号码（E.164）. -#}
    nullif(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), r'^(\s*\(?(?:\+?86[- ]?)?0[0-9]{2,3}\)?[- ]?[0-9]{7,8})-([0-9]{1,5})\s*$', '$1;$2'), r'\s*(?:转|轉|分机|分機|[Ee][Xx][Tt]\.?|#|x)\s*:?\s*([0-9]{1,6})\s*$', ';$1'), '[^0-9+;]', ''), '^00', '+'), '^86([0-9]{10})', '+86$1'), '^0?([0-9])', '+86$1'), ';([0-9]{1,6})$', ';ext=$1'), '')
{%- endmacro %}


{% macro credit_code(value) -%}
    {#- unified social credit code as written: 统一社会信用代码. -#}
    nullif(upper(regexp_replace(regexp_replace(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), r'[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{FEFF}]', ''), r'[\s\p{Z}]+', '')), '')
{%- endmacro %}


{% macro resident_id(value) -%}
    {#- resident identity number as written: 居民身份证号. -#}
    nullif(upper(regexp_replace(regexp_replace(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), r'[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}\x{FEFF}]', ''), r'[\s\p{Z}]+', '')), '')
{%- endmacro %}


{% macro email(value) -%}
    {#- e-mail address: 电子邮箱. -#}
    nullif(regexp_replace(regexp_replace(lower(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92)))), r'[\s\p{Z}]+', ''), '^mailto:', ''), '')
{%- endmacro %}


{% macro digits_only(value) -%}
    {#- digits of a GTIN, GLN or SSCC: 条码数字. -#}
    nullif(regexp_replace(translate({{ value }}, '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), r'[\s\p{Z}-]+', ''), '')
{%- endmacro %}


{% macro number(value) -%}
    {#- number, decimal point: 数字. -#}
    nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast({{ value }} as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), '')
{%- endmacro %}


{% macro number_decimal_comma(value) -%}
    {#- number, decimal comma: 数字（逗号小数）. -#}
    nullif(translate(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast({{ value }} as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]*)?|[0-9]+(?:,[0-9]*)?|,[0-9]+))$', 1), ',.', '.'), '')
{%- endmacro %}


{% macro date(value) -%}
    {#- date: 日期. -#}
    coalesce(
        try_cast(regexp_extract(regexp_replace(regexp_replace(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{4})([0-9]{2})([0-9]{2})$', '$1-$2-$3'), r'^([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+]00:?00)?)?$', '$1-$2-$3'), r'^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})$', '$3-$2-$1'), '^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$', 0) as date),
        date_add(date'1899-12-30', try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^([1-9][0-9]{4})(\.0*)?$', 1) as int)),
        case when try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint) % 86400000 = 0 then cast(timestamp_millis(try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint)) as date) end
    )
{%- endmacro %}


{% macro date_day_first(value) -%}
    {#- date, day first: 日期（日在前）. -#}
    coalesce(
        try_cast(regexp_extract(regexp_replace(regexp_replace(regexp_replace(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$2-$1'), '^([0-9]{4})([0-9]{2})([0-9]{2})$', '$1-$2-$3'), r'^([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+]00:?00)?)?$', '$1-$2-$3'), r'^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})$', '$3-$2-$1'), '^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$', 0) as date),
        date_add(date'1899-12-30', try_cast(regexp_extract(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$2-$1'), r'^([1-9][0-9]{4})(\.0*)?$', 1) as int)),
        case when try_cast(regexp_extract(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$2-$1'), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint) % 86400000 = 0 then cast(timestamp_millis(try_cast(regexp_extract(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$2-$1'), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint)) as date) end
    )
{%- endmacro %}


{% macro date_month_first(value) -%}
    {#- date, month first: 日期（月在前）. -#}
    coalesce(
        try_cast(regexp_extract(regexp_replace(regexp_replace(regexp_replace(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$1-$2'), '^([0-9]{4})([0-9]{2})([0-9]{2})$', '$1-$2-$3'), r'^([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+]00:?00)?)?$', '$1-$2-$3'), r'^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})$', '$3-$2-$1'), '^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$', 0) as date),
        date_add(date'1899-12-30', try_cast(regexp_extract(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$1-$2'), r'^([1-9][0-9]{4})(\.0*)?$', 1) as int)),
        case when try_cast(regexp_extract(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$1-$2'), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint) % 86400000 = 0 then cast(timestamp_millis(try_cast(regexp_extract(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{1,2})[-/]([0-9]{1,2})[-/]([0-9]{4})$', '$3-$1-$2'), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint)) as date) end
    )
{%- endmacro %}


{% macro timestamp(value) -%}
    {#- moment, UTC: 时间戳（UTC）. -#}
    coalesce(
        try_cast(regexp_extract(regexp_replace(regexp_replace(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{4})([0-9]{2})([0-9]{2})[T ]?([0-9]{2}):?([0-9]{2}):?([0-9]{2})$', '$1-$2-$3 $4:$5:$6'), r'^(.*[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?([+-][0-9]{2})([0-9]{2})$', '$1$2:$3'), r'^([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})[T ]+([0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?(Z|[+-][0-9]{2}:[0-9]{2})?$', '$1-$2-$3 $4$5'), '^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2} [0-9]{1,2}:.*$', 0) as timestamp),
        timestamp_millis(try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^/Date\((-?[0-9]{1,14})([+-][0-9]{4})?\)/$', 1) as bigint)),
        timestamp_millis(try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^[0-9]{13}$', 0) as bigint)),
        timestamp_seconds(cast(round((try_cast(nullif(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^[1-9][0-9]{4}\.[0-9]+$', 0), '') as decimal(18, 10)) - 25569) * 86400) as bigint)),
        cast(coalesce(
            try_cast(regexp_extract(regexp_replace(regexp_replace(regexp_replace(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), '^([0-9]{4})([0-9]{2})([0-9]{2})$', '$1-$2-$3'), r'^([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+]00:?00)?)?$', '$1-$2-$3'), r'^([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})$', '$3-$2-$1'), '^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$', 0) as date),
            date_add(date'1899-12-30', try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^([1-9][0-9]{4})(\.0*)?$', 1) as int)),
            case when try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint) % 86400000 = 0 then cast(timestamp_millis(try_cast(regexp_extract(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '０１２３４５６７８９－／．：　', '0123456789-/.: ')), r'^/Date\((-?[0-9]{1,14})\)/$', 1) as bigint)) as date) end
        ) as timestamp)
    )
{%- endmacro %}


{% macro boolean(value) -%}
    {#- yes or no: 是否. -#}
    case
        when upper(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))))) in ('TRUE', 'T', '1', 'Y', 'YES', 'X', '是', '真') then true
        when upper(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from translate(cast({{ value }} as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))))) in ('FALSE', 'F', '0', 'N', 'NO', '否', '假') then false
    end
{%- endmacro %}


{% macro flag(value) -%}
    {#- a mark that is there or not: 标记. -#}
    coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from {{ value }}), '') <> ''
{%- endmacro %}
