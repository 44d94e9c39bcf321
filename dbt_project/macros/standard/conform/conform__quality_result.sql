{# Made from standard/contracts/quality_result.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__quality_result(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Quality result · 检验结果, contract 1.0.0. -#}
    {%- do conform_demands('quality_result', ['production_order'], ['measured_value', 'lower_limit', 'upper_limit', 'inspected_at', 'recorded_at'], ['result'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    event_id,
    production_order_id,
    characteristic,
    measured_value,
    lower_limit,
    upper_limit,
    measured_unit,
    result,
    inspected_at,
    recorded_at,
    source_result,
    _datong_version,
    _datong_batch_id,
    _datong_ingested_at,
    source_row,
    {%- for column in carry %}
    {{ column }},
    {%- endfor %}
    _failures
from (
    select
        normalised.*,
        case
            when (event_id is null)
                or (production_order_id is null)
            {%- if parents['production_order'] %}
                or (production_order_id is not null and _known_production_order_production_order_id is null)
            {%- endif %}
                or (characteristic is null)
                or (measured_value is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'measured_value' in as_text %}source_measured_value{% else %}coalesce(cast(source_measured_value as string), {{ unreadable('measured_value', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'measured_value' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_measured_value as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_measured_value as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_measured_value <> measured_value{% endif %})
                or (lower_limit is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'lower_limit' in as_text %}source_lower_limit{% else %}coalesce(cast(source_lower_limit as string), {{ unreadable('lower_limit', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'lower_limit' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_lower_limit as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_lower_limit as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_lower_limit <> lower_limit{% endif %})
                or (upper_limit is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'upper_limit' in as_text %}source_upper_limit{% else %}coalesce(cast(source_upper_limit as string), {{ unreadable('upper_limit', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'upper_limit' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_upper_limit as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_upper_limit as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_upper_limit <> upper_limit{% endif %})
                or (result is null)
                or (inspected_at is null)
                or (inspected_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'inspected_at' in as_text %}source_inspected_at{% else %}coalesce(cast(source_inspected_at as string), {{ unreadable('inspected_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (recorded_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'recorded_at' in as_text %}source_recorded_at{% else %}coalesce(cast(source_recorded_at as string), {{ unreadable('recorded_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when event_id is null
                            then named_struct('field', 'event_id', 'rule', 'required', 'reason', 'event_id is missing', 'reason_zh', '事件编号缺失', 'raw', cast(event_id as string), 'is_withheld', true)
                    end,
                    case
                        when production_order_id is null
                            then named_struct('field', 'production_order_id', 'rule', 'required', 'reason', 'production_order_id is missing', 'reason_zh', '生产订单号缺失', 'raw', cast(production_order_id as string), 'is_withheld', true)
                    end
        {%- if parents['production_order'] %},
                    case
                        when production_order_id is not null and _known_production_order_production_order_id is null
                            then named_struct('field', 'production_order_id', 'rule', 'refers_to_production_order', 'reason', concat('production order ', coalesce(cast(production_order_id as string), 'missing'), ' is not known'), 'reason_zh', concat('生产订单', coalesce(cast(production_order_id as string), '空'), '不存在'), 'raw', cast(production_order_id as string), 'is_withheld', true)
                    end
        {%- endif %},
                    case
                        when characteristic is null
                            then named_struct('field', 'characteristic', 'rule', 'required', 'reason', 'characteristic is missing', 'reason_zh', '检验特性缺失', 'raw', cast(characteristic as string), 'is_withheld', true)
                    end,
                    case
                        when measured_value is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'measured_value' in as_text %}source_measured_value{% else %}coalesce(cast(source_measured_value as string), {{ unreadable('measured_value', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'measured_value', 'rule', 'type', 'reason', concat('measured_value must be a decimal(18,6) and is ', coalesce(cast({% if 'measured_value' in as_text %}source_measured_value{% else %}coalesce(cast(source_measured_value as string), {{ unreadable('measured_value', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('测量值的值', coalesce(cast({% if 'measured_value' in as_text %}source_measured_value{% else %}coalesce(cast(source_measured_value as string), {{ unreadable('measured_value', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,6)'), 'raw', cast({% if 'measured_value' in as_text %}source_measured_value{% else %}coalesce(cast(source_measured_value as string), {{ unreadable('measured_value', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'measured_value' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_measured_value as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_measured_value as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_measured_value <> measured_value{% endif %}
                            then named_struct('field', 'measured_value', 'rule', 'decimals', 'reason', concat('measured_value may have 6 decimals and is ', coalesce(cast(source_measured_value as string), 'missing')), 'reason_zh', concat('测量值最多6位小数，实际为', coalesce(cast(source_measured_value as string), '空')), 'raw', cast(source_measured_value as string), 'is_withheld', false)
                    end,
                    case
                        when lower_limit is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'lower_limit' in as_text %}source_lower_limit{% else %}coalesce(cast(source_lower_limit as string), {{ unreadable('lower_limit', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'lower_limit', 'rule', 'type', 'reason', concat('lower_limit must be a decimal(18,6) and is ', coalesce(cast({% if 'lower_limit' in as_text %}source_lower_limit{% else %}coalesce(cast(source_lower_limit as string), {{ unreadable('lower_limit', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('下限的值', coalesce(cast({% if 'lower_limit' in as_text %}source_lower_limit{% else %}coalesce(cast(source_lower_limit as string), {{ unreadable('lower_limit', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,6)'), 'raw', cast({% if 'lower_limit' in as_text %}source_lower_limit{% else %}coalesce(cast(source_lower_limit as string), {{ unreadable('lower_limit', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'lower_limit' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_lower_limit as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_lower_limit as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_lower_limit <> lower_limit{% endif %}
                            then named_struct('field', 'lower_limit', 'rule', 'decimals', 'reason', concat('lower_limit may have 6 decimals and is ', coalesce(cast(source_lower_limit as string), 'missing')), 'reason_zh', concat('下限最多6位小数，实际为', coalesce(cast(source_lower_limit as string), '空')), 'raw', cast(source_lower_limit as string), 'is_withheld', false)
                    end,
                    case
                        when upper_limit is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'upper_limit' in as_text %}source_upper_limit{% else %}coalesce(cast(source_upper_limit as string), {{ unreadable('upper_limit', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'upper_limit', 'rule', 'type', 'reason', concat('upper_limit must be a decimal(18,6) and is ', coalesce(cast({% if 'upper_limit' in as_text %}source_upper_limit{% else %}coalesce(cast(source_upper_limit as string), {{ unreadable('upper_limit', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('上限的值', coalesce(cast({% if 'upper_limit' in as_text %}source_upper_limit{% else %}coalesce(cast(source_upper_limit as string), {{ unreadable('upper_limit', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,6)'), 'raw', cast({% if 'upper_limit' in as_text %}source_upper_limit{% else %}coalesce(cast(source_upper_limit as string), {{ unreadable('upper_limit', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'upper_limit' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_upper_limit as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_upper_limit as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_upper_limit <> upper_limit{% endif %}
                            then named_struct('field', 'upper_limit', 'rule', 'decimals', 'reason', concat('upper_limit may have 6 decimals and is ', coalesce(cast(source_upper_limit as string), 'missing')), 'reason_zh', concat('上限最多6位小数，实际为', coalesce(cast(source_upper_limit as string), '空')), 'raw', cast(source_upper_limit as string), 'is_withheld', false)
                    end,
                    case
                        when result is null
                            then named_struct('field', 'result', 'rule', 'known_quality_result', 'reason', concat('quality result ', coalesce(cast(source_result as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集quality result的对照表中没有', coalesce(cast(source_result as string), '空')), 'raw', cast(source_result as string), 'is_withheld', true)
                    end,
                    case
                        when inspected_at is null
                            then named_struct('field', 'inspected_at', 'rule', 'required', 'reason', 'inspected_at is missing', 'reason_zh', '检验时间缺失', 'raw', cast(source_inspected_at as string), 'is_withheld', true)
                    end,
                    case
                        when inspected_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'inspected_at' in as_text %}source_inspected_at{% else %}coalesce(cast(source_inspected_at as string), {{ unreadable('inspected_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'inspected_at', 'rule', 'type', 'reason', concat('inspected_at must be a timestamp and is ', coalesce(cast({% if 'inspected_at' in as_text %}source_inspected_at{% else %}coalesce(cast(source_inspected_at as string), {{ unreadable('inspected_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('检验时间的值', coalesce(cast({% if 'inspected_at' in as_text %}source_inspected_at{% else %}coalesce(cast(source_inspected_at as string), {{ unreadable('inspected_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'inspected_at' in as_text %}source_inspected_at{% else %}coalesce(cast(source_inspected_at as string), {{ unreadable('inspected_at', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when recorded_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'recorded_at' in as_text %}source_recorded_at{% else %}coalesce(cast(source_recorded_at as string), {{ unreadable('recorded_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'recorded_at', 'rule', 'type', 'reason', concat('recorded_at must be a timestamp and is ', coalesce(cast({% if 'recorded_at' in as_text %}source_recorded_at{% else %}coalesce(cast(source_recorded_at as string), {{ unreadable('recorded_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('记录时间的值', coalesce(cast({% if 'recorded_at' in as_text %}source_recorded_at{% else %}coalesce(cast(source_recorded_at as string), {{ unreadable('recorded_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'recorded_at' in as_text %}source_recorded_at{% else %}coalesce(cast(source_recorded_at as string), {{ unreadable('recorded_at', sent) }}){% endif %} as string), 'is_withheld', false)
                    end
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ blank_to_null('event_id') }} as event_id,
            {{ without_zeros('production_order_id') }} as production_order_id,
            {{ blank_to_null('characteristic') }} as characteristic,
            {% if 'measured_value' in as_text %}try_cast({{ number('measured_value') }} as decimal(18,6)){% else %}try_cast(measured_value as decimal(18,6)){% endif %} as measured_value,
            measured_value as source_measured_value,
            {% if 'lower_limit' in as_text %}try_cast({{ number('lower_limit') }} as decimal(18,6)){% else %}try_cast(lower_limit as decimal(18,6)){% endif %} as lower_limit,
            lower_limit as source_lower_limit,
            {% if 'upper_limit' in as_text %}try_cast({{ number('upper_limit') }} as decimal(18,6)){% else %}try_cast(upper_limit as decimal(18,6)){% endif %} as upper_limit,
            upper_limit as source_upper_limit,
            {{ blank_to_null('measured_unit') }} as measured_unit,
            result,
            source_result,
            {% if 'inspected_at' in as_text %}{{ timestamp('inspected_at') }}{% else %}try_cast(inspected_at as timestamp){% endif %} as inspected_at,
            inspected_at as source_inspected_at,
            {% if 'recorded_at' in as_text %}{{ timestamp('recorded_at') }}{% else %}try_cast(recorded_at as timestamp){% endif %} as recorded_at,
            recorded_at as source_recorded_at,
            _datong_version,
            _datong_batch_id,
            _datong_ingested_at,
            source_row
            {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
            {{ column }}
            {%- endfor %}
        from (
            select
                given.source_system,
                given.source_key,
                coalesce(fixes.event_id, given.event_id) as event_id,
                coalesce(fixes.production_order_id, given.production_order_id) as production_order_id,
                coalesce(fixes.characteristic, given.characteristic) as characteristic,
                {% if 'measured_value' in as_text %}coalesce(fixes.measured_value, cast(given.measured_value as string)){% else %}coalesce(try_cast(fixes.measured_value as decimal(18,6)), given.measured_value){% endif %} as measured_value,
                {% if 'lower_limit' in as_text %}coalesce(fixes.lower_limit, cast(given.lower_limit as string)){% else %}coalesce(try_cast(fixes.lower_limit as decimal(18,6)), given.lower_limit){% endif %} as lower_limit,
                {% if 'upper_limit' in as_text %}coalesce(fixes.upper_limit, cast(given.upper_limit as string)){% else %}coalesce(try_cast(fixes.upper_limit as decimal(18,6)), given.upper_limit){% endif %} as upper_limit,
                coalesce(fixes.measured_unit, given.measured_unit) as measured_unit,
                coalesce(fixes.result, given.result) as result,
                given.{{ 'result' if 'result' in computed else 'source_result' }} as source_result,
                {% if 'inspected_at' in as_text %}coalesce(fixes.inspected_at, cast(given.inspected_at as string)){% else %}coalesce(try_cast(fixes.inspected_at as timestamp), given.inspected_at){% endif %} as inspected_at,
                {% if 'recorded_at' in as_text %}coalesce(fixes.recorded_at, cast(given.recorded_at as string)){% else %}coalesce(try_cast(fixes.recorded_at as timestamp), given.recorded_at){% endif %} as recorded_at,
                concat_ws(' ', given._datong_version, fixes._decision_id) as _datong_version,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('quality_result', ['event_id', 'production_order_id', 'characteristic', 'measured_value', 'lower_limit', 'upper_limit', 'measured_unit', 'result', 'inspected_at', 'recorded_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['production_order'] %}
    left join (select distinct production_order_id as _known_production_order_production_order_id_0, true as _known_production_order_production_order_id from {{ parents['production_order'] }})
        on normalised.production_order_id = _known_production_order_production_order_id_0
    {%- endif %}
) as checked
{%- endmacro %}
