{# Made from standard/contracts/operation_confirmation.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__operation_confirmation(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Operation confirmation · 工序报工, contract 1.0.0. -#}
    {%- do conform_demands('operation_confirmation', ['production_order'], ['good_quantity', 'scrap_quantity', 'machine_minutes', 'confirmed_at', 'recorded_at'], ['quantity_unit'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    event_id,
    production_order_id,
    operation_id,
    work_center_id,
    good_quantity,
    scrap_quantity,
    quantity_unit,
    machine_minutes,
    operator,
    confirmed_at,
    recorded_at,
    source_quantity_unit,
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
                or (operation_id is null)
                or (good_quantity is null)
                or (good_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'good_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_good_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_good_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_good_quantity <> good_quantity{% endif %})
                or (good_quantity < 0)
                or (scrap_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'scrap_quantity' in as_text %}source_scrap_quantity{% else %}coalesce(cast(source_scrap_quantity as string), {{ unreadable('scrap_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'scrap_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_scrap_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_scrap_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_scrap_quantity <> scrap_quantity{% endif %})
                or (scrap_quantity < 0)
                or (quantity_unit is null)
                or (machine_minutes is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'machine_minutes' in as_text %}source_machine_minutes{% else %}coalesce(cast(source_machine_minutes as string), {{ unreadable('machine_minutes', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'machine_minutes' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_machine_minutes as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_machine_minutes as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_machine_minutes <> machine_minutes{% endif %})
                or (confirmed_at is null)
                or (confirmed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'confirmed_at' in as_text %}source_confirmed_at{% else %}coalesce(cast(source_confirmed_at as string), {{ unreadable('confirmed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
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
                        when operation_id is null
                            then named_struct('field', 'operation_id', 'rule', 'required', 'reason', 'operation_id is missing', 'reason_zh', '工序号缺失', 'raw', cast(operation_id as string), 'is_withheld', true)
                    end,
                    case
                        when good_quantity is null
                            then named_struct('field', 'good_quantity', 'rule', 'required', 'reason', 'good_quantity is missing', 'reason_zh', '合格数量缺失', 'raw', cast(source_good_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when good_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'good_quantity', 'rule', 'type', 'reason', concat('good_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('合格数量的值', coalesce(cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when {% if 'good_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_good_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_good_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_good_quantity <> good_quantity{% endif %}
                            then named_struct('field', 'good_quantity', 'rule', 'decimals', 'reason', concat('good_quantity may have 3 decimals and is ', coalesce(cast(source_good_quantity as string), 'missing')), 'reason_zh', concat('合格数量最多3位小数，实际为', coalesce(cast(source_good_quantity as string), '空')), 'raw', cast(source_good_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when good_quantity < 0
                            then named_struct('field', 'good_quantity', 'rule', 'not_negative', 'reason', concat('good_quantity must not be below zero and is ', coalesce(cast(good_quantity as string), 'missing')), 'reason_zh', concat('合格数量不得小于零，实际为', coalesce(cast(good_quantity as string), '空')), 'raw', cast(source_good_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when scrap_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'scrap_quantity' in as_text %}source_scrap_quantity{% else %}coalesce(cast(source_scrap_quantity as string), {{ unreadable('scrap_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'scrap_quantity', 'rule', 'type', 'reason', concat('scrap_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'scrap_quantity' in as_text %}source_scrap_quantity{% else %}coalesce(cast(source_scrap_quantity as string), {{ unreadable('scrap_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('报废数量的值', coalesce(cast({% if 'scrap_quantity' in as_text %}source_scrap_quantity{% else %}coalesce(cast(source_scrap_quantity as string), {{ unreadable('scrap_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'scrap_quantity' in as_text %}source_scrap_quantity{% else %}coalesce(cast(source_scrap_quantity as string), {{ unreadable('scrap_quantity', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'scrap_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_scrap_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_scrap_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_scrap_quantity <> scrap_quantity{% endif %}
                            then named_struct('field', 'scrap_quantity', 'rule', 'decimals', 'reason', concat('scrap_quantity may have 3 decimals and is ', coalesce(cast(source_scrap_quantity as string), 'missing')), 'reason_zh', concat('报废数量最多3位小数，实际为', coalesce(cast(source_scrap_quantity as string), '空')), 'raw', cast(source_scrap_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when scrap_quantity < 0
                            then named_struct('field', 'scrap_quantity', 'rule', 'not_negative', 'reason', concat('scrap_quantity must not be below zero and is ', coalesce(cast(scrap_quantity as string), 'missing')), 'reason_zh', concat('报废数量不得小于零，实际为', coalesce(cast(scrap_quantity as string), '空')), 'raw', cast(source_scrap_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
                    end,
                    case
                        when machine_minutes is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'machine_minutes' in as_text %}source_machine_minutes{% else %}coalesce(cast(source_machine_minutes as string), {{ unreadable('machine_minutes', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'machine_minutes', 'rule', 'type', 'reason', concat('machine_minutes must be a decimal(15,3) and is ', coalesce(cast({% if 'machine_minutes' in as_text %}source_machine_minutes{% else %}coalesce(cast(source_machine_minutes as string), {{ unreadable('machine_minutes', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('机时(分钟)的值', coalesce(cast({% if 'machine_minutes' in as_text %}source_machine_minutes{% else %}coalesce(cast(source_machine_minutes as string), {{ unreadable('machine_minutes', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'machine_minutes' in as_text %}source_machine_minutes{% else %}coalesce(cast(source_machine_minutes as string), {{ unreadable('machine_minutes', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'machine_minutes' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_machine_minutes as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_machine_minutes as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_machine_minutes <> machine_minutes{% endif %}
                            then named_struct('field', 'machine_minutes', 'rule', 'decimals', 'reason', concat('machine_minutes may have 3 decimals and is ', coalesce(cast(source_machine_minutes as string), 'missing')), 'reason_zh', concat('机时(分钟)最多3位小数，实际为', coalesce(cast(source_machine_minutes as string), '空')), 'raw', cast(source_machine_minutes as string), 'is_withheld', false)
                    end,
                    case
                        when confirmed_at is null
                            then named_struct('field', 'confirmed_at', 'rule', 'required', 'reason', 'confirmed_at is missing', 'reason_zh', '报工时间缺失', 'raw', cast(source_confirmed_at as string), 'is_withheld', true)
                    end,
                    case
                        when confirmed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'confirmed_at' in as_text %}source_confirmed_at{% else %}coalesce(cast(source_confirmed_at as string), {{ unreadable('confirmed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'confirmed_at', 'rule', 'type', 'reason', concat('confirmed_at must be a timestamp and is ', coalesce(cast({% if 'confirmed_at' in as_text %}source_confirmed_at{% else %}coalesce(cast(source_confirmed_at as string), {{ unreadable('confirmed_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('报工时间的值', coalesce(cast({% if 'confirmed_at' in as_text %}source_confirmed_at{% else %}coalesce(cast(source_confirmed_at as string), {{ unreadable('confirmed_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'confirmed_at' in as_text %}source_confirmed_at{% else %}coalesce(cast(source_confirmed_at as string), {{ unreadable('confirmed_at', sent) }}){% endif %} as string), 'is_withheld', true)
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
            {{ without_zeros('operation_id') }} as operation_id,
            {{ blank_to_null('work_center_id') }} as work_center_id,
            {% if 'good_quantity' in as_text %}try_cast({{ number('good_quantity') }} as decimal(15,3)){% else %}try_cast(good_quantity as decimal(15,3)){% endif %} as good_quantity,
            good_quantity as source_good_quantity,
            {% if 'scrap_quantity' in as_text %}try_cast({{ number('scrap_quantity') }} as decimal(15,3)){% else %}try_cast(scrap_quantity as decimal(15,3)){% endif %} as scrap_quantity,
            scrap_quantity as source_scrap_quantity,
            quantity_unit,
            source_quantity_unit,
            {% if 'machine_minutes' in as_text %}try_cast({{ number('machine_minutes') }} as decimal(15,3)){% else %}try_cast(machine_minutes as decimal(15,3)){% endif %} as machine_minutes,
            machine_minutes as source_machine_minutes,
            {{ blank_to_null('operator') }} as operator,
            {% if 'confirmed_at' in as_text %}{{ timestamp('confirmed_at') }}{% else %}try_cast(confirmed_at as timestamp){% endif %} as confirmed_at,
            confirmed_at as source_confirmed_at,
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
                coalesce(fixes.operation_id, given.operation_id) as operation_id,
                coalesce(fixes.work_center_id, given.work_center_id) as work_center_id,
                {% if 'good_quantity' in as_text %}coalesce(fixes.good_quantity, cast(given.good_quantity as string)){% else %}coalesce(try_cast(fixes.good_quantity as decimal(15,3)), given.good_quantity){% endif %} as good_quantity,
                {% if 'scrap_quantity' in as_text %}coalesce(fixes.scrap_quantity, cast(given.scrap_quantity as string)){% else %}coalesce(try_cast(fixes.scrap_quantity as decimal(15,3)), given.scrap_quantity){% endif %} as scrap_quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                {% if 'machine_minutes' in as_text %}coalesce(fixes.machine_minutes, cast(given.machine_minutes as string)){% else %}coalesce(try_cast(fixes.machine_minutes as decimal(15,3)), given.machine_minutes){% endif %} as machine_minutes,
                coalesce(fixes.operator, given.operator) as operator,
                {% if 'confirmed_at' in as_text %}coalesce(fixes.confirmed_at, cast(given.confirmed_at as string)){% else %}coalesce(try_cast(fixes.confirmed_at as timestamp), given.confirmed_at){% endif %} as confirmed_at,
                {% if 'recorded_at' in as_text %}coalesce(fixes.recorded_at, cast(given.recorded_at as string)){% else %}coalesce(try_cast(fixes.recorded_at as timestamp), given.recorded_at){% endif %} as recorded_at,
                concat_ws(' ', given._datong_version, fixes._decision_id) as _datong_version,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('operation_confirmation', ['event_id', 'production_order_id', 'operation_id', 'work_center_id', 'good_quantity', 'scrap_quantity', 'quantity_unit', 'machine_minutes', 'operator', 'confirmed_at', 'recorded_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['production_order'] %}
    left join (select distinct production_order_id as _known_production_order_production_order_id_0, true as _known_production_order_production_order_id from {{ parents['production_order'] }})
        on normalised.production_order_id = _known_production_order_production_order_id_0
    {%- endif %}
) as checked
{%- endmacro %}
