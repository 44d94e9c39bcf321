{# Made from standard/contracts/work_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__work_order(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Work order · 工单, contract 1.0.0. -#}
    {%- do conform_demands('work_order', [], ['quantity', 'good_quantity', 'scrap_quantity', 'planned_start_at', 'planned_end_at', 'version', 'updated_at'], ['quantity_unit', 'status'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    work_order_id,
    production_order_id,
    material_id,
    quantity,
    good_quantity,
    scrap_quantity,
    quantity_unit,
    status,
    planned_start_at,
    planned_end_at,
    version,
    updated_at,
    source_quantity_unit,
    source_status,
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
            when (work_order_id is null)
                or (production_order_id is null)
                or (quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %})
                or (coalesce(quantity, 0) <= 0)
                or (good_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'good_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_good_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_good_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_good_quantity <> good_quantity{% endif %})
                or (scrap_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'scrap_quantity' in as_text %}source_scrap_quantity{% else %}coalesce(cast(source_scrap_quantity as string), {{ unreadable('scrap_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'scrap_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_scrap_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_scrap_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_scrap_quantity <> scrap_quantity{% endif %})
                or (quantity_unit is null)
                or (status is null)
                or (planned_start_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_start_at' in as_text %}source_planned_start_at{% else %}coalesce(cast(source_planned_start_at as string), {{ unreadable('planned_start_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (planned_end_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_end_at' in as_text %}source_planned_end_at{% else %}coalesce(cast(source_planned_end_at as string), {{ unreadable('planned_end_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (version is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'version' in as_text %}source_version{% else %}coalesce(cast(source_version as string), {{ unreadable('version', sent) }}){% endif %} as string)), '') <> '')
                or (updated_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'updated_at' in as_text %}source_updated_at{% else %}coalesce(cast(source_updated_at as string), {{ unreadable('updated_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when work_order_id is null
                            then named_struct('field', 'work_order_id', 'rule', 'required', 'reason', 'work_order_id is missing', 'reason_zh', '工单号缺失', 'raw', cast(work_order_id as string), 'is_withheld', true)
                    end,
                    case
                        when production_order_id is null
                            then named_struct('field', 'production_order_id', 'rule', 'required', 'reason', 'production_order_id is missing', 'reason_zh', '生产订单号缺失', 'raw', cast(production_order_id as string), 'is_withheld', true)
                    end,
                    case
                        when quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'quantity', 'rule', 'type', 'reason', concat('quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('数量的值', coalesce(cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when {% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %}
                            then named_struct('field', 'quantity', 'rule', 'decimals', 'reason', concat('quantity may have 3 decimals and is ', coalesce(cast(source_quantity as string), 'missing')), 'reason_zh', concat('数量最多3位小数，实际为', coalesce(cast(source_quantity as string), '空')), 'raw', cast(source_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when coalesce(quantity, 0) <= 0
                            then named_struct('field', 'quantity', 'rule', 'positive', 'reason', concat('quantity must be above zero and is ', coalesce(cast(quantity as string), 'missing')), 'reason_zh', concat('数量必须大于零，实际为', coalesce(cast(quantity as string), '空')), 'raw', cast(source_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when good_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'good_quantity', 'rule', 'type', 'reason', concat('good_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('合格数量的值', coalesce(cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'good_quantity' in as_text %}source_good_quantity{% else %}coalesce(cast(source_good_quantity as string), {{ unreadable('good_quantity', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'good_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_good_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_good_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_good_quantity <> good_quantity{% endif %}
                            then named_struct('field', 'good_quantity', 'rule', 'decimals', 'reason', concat('good_quantity may have 3 decimals and is ', coalesce(cast(source_good_quantity as string), 'missing')), 'reason_zh', concat('合格数量最多3位小数，实际为', coalesce(cast(source_good_quantity as string), '空')), 'raw', cast(source_good_quantity as string), 'is_withheld', false)
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
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
                    end,
                    case
                        when status is null
                            then named_struct('field', 'status', 'rule', 'known_work_order_status', 'reason', concat('work order status ', coalesce(cast(source_status as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集work order status的对照表中没有', coalesce(cast(source_status as string), '空')), 'raw', cast(source_status as string), 'is_withheld', true)
                    end,
                    case
                        when planned_start_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_start_at' in as_text %}source_planned_start_at{% else %}coalesce(cast(source_planned_start_at as string), {{ unreadable('planned_start_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'planned_start_at', 'rule', 'type', 'reason', concat('planned_start_at must be a timestamp and is ', coalesce(cast({% if 'planned_start_at' in as_text %}source_planned_start_at{% else %}coalesce(cast(source_planned_start_at as string), {{ unreadable('planned_start_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('计划开始时间的值', coalesce(cast({% if 'planned_start_at' in as_text %}source_planned_start_at{% else %}coalesce(cast(source_planned_start_at as string), {{ unreadable('planned_start_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'planned_start_at' in as_text %}source_planned_start_at{% else %}coalesce(cast(source_planned_start_at as string), {{ unreadable('planned_start_at', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when planned_end_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_end_at' in as_text %}source_planned_end_at{% else %}coalesce(cast(source_planned_end_at as string), {{ unreadable('planned_end_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'planned_end_at', 'rule', 'type', 'reason', concat('planned_end_at must be a timestamp and is ', coalesce(cast({% if 'planned_end_at' in as_text %}source_planned_end_at{% else %}coalesce(cast(source_planned_end_at as string), {{ unreadable('planned_end_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('计划结束时间的值', coalesce(cast({% if 'planned_end_at' in as_text %}source_planned_end_at{% else %}coalesce(cast(source_planned_end_at as string), {{ unreadable('planned_end_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'planned_end_at' in as_text %}source_planned_end_at{% else %}coalesce(cast(source_planned_end_at as string), {{ unreadable('planned_end_at', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when version is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'version' in as_text %}source_version{% else %}coalesce(cast(source_version as string), {{ unreadable('version', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'version', 'rule', 'type', 'reason', concat('version must be a bigint and is ', coalesce(cast({% if 'version' in as_text %}source_version{% else %}coalesce(cast(source_version as string), {{ unreadable('version', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('版本的值', coalesce(cast({% if 'version' in as_text %}source_version{% else %}coalesce(cast(source_version as string), {{ unreadable('version', sent) }}){% endif %} as string), '空'), '不是有效的bigint'), 'raw', cast({% if 'version' in as_text %}source_version{% else %}coalesce(cast(source_version as string), {{ unreadable('version', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when updated_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'updated_at' in as_text %}source_updated_at{% else %}coalesce(cast(source_updated_at as string), {{ unreadable('updated_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'updated_at', 'rule', 'type', 'reason', concat('updated_at must be a timestamp and is ', coalesce(cast({% if 'updated_at' in as_text %}source_updated_at{% else %}coalesce(cast(source_updated_at as string), {{ unreadable('updated_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('更新时间的值', coalesce(cast({% if 'updated_at' in as_text %}source_updated_at{% else %}coalesce(cast(source_updated_at as string), {{ unreadable('updated_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'updated_at' in as_text %}source_updated_at{% else %}coalesce(cast(source_updated_at as string), {{ unreadable('updated_at', sent) }}){% endif %} as string), 'is_withheld', false)
                    end
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ blank_to_null('work_order_id') }} as work_order_id,
            {{ without_zeros('production_order_id') }} as production_order_id,
            {{ material_number('material_id') }} as material_id,
            {% if 'quantity' in as_text %}try_cast({{ number('quantity') }} as decimal(15,3)){% else %}try_cast(quantity as decimal(15,3)){% endif %} as quantity,
            quantity as source_quantity,
            {% if 'good_quantity' in as_text %}try_cast({{ number('good_quantity') }} as decimal(15,3)){% else %}try_cast(good_quantity as decimal(15,3)){% endif %} as good_quantity,
            good_quantity as source_good_quantity,
            {% if 'scrap_quantity' in as_text %}try_cast({{ number('scrap_quantity') }} as decimal(15,3)){% else %}try_cast(scrap_quantity as decimal(15,3)){% endif %} as scrap_quantity,
            scrap_quantity as source_scrap_quantity,
            quantity_unit,
            source_quantity_unit,
            status,
            source_status,
            {% if 'planned_start_at' in as_text %}{{ timestamp('planned_start_at') }}{% else %}try_cast(planned_start_at as timestamp){% endif %} as planned_start_at,
            planned_start_at as source_planned_start_at,
            {% if 'planned_end_at' in as_text %}{{ timestamp('planned_end_at') }}{% else %}try_cast(planned_end_at as timestamp){% endif %} as planned_end_at,
            planned_end_at as source_planned_end_at,
            {% if 'version' in as_text %}try_cast(regexp_extract(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(version as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), r'^(-?[0-9]+)(\.0*)?$', 1) as bigint){% else %}try_cast(version as bigint){% endif %} as version,
            version as source_version,
            {% if 'updated_at' in as_text %}{{ timestamp('updated_at') }}{% else %}try_cast(updated_at as timestamp){% endif %} as updated_at,
            updated_at as source_updated_at,
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
                coalesce(fixes.work_order_id, given.work_order_id) as work_order_id,
                coalesce(fixes.production_order_id, given.production_order_id) as production_order_id,
                coalesce(fixes.material_id, given.material_id) as material_id,
                {% if 'quantity' in as_text %}coalesce(fixes.quantity, cast(given.quantity as string)){% else %}coalesce(try_cast(fixes.quantity as decimal(15,3)), given.quantity){% endif %} as quantity,
                {% if 'good_quantity' in as_text %}coalesce(fixes.good_quantity, cast(given.good_quantity as string)){% else %}coalesce(try_cast(fixes.good_quantity as decimal(15,3)), given.good_quantity){% endif %} as good_quantity,
                {% if 'scrap_quantity' in as_text %}coalesce(fixes.scrap_quantity, cast(given.scrap_quantity as string)){% else %}coalesce(try_cast(fixes.scrap_quantity as decimal(15,3)), given.scrap_quantity){% endif %} as scrap_quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                coalesce(fixes.status, given.status) as status,
                given.{{ 'status' if 'status' in computed else 'source_status' }} as source_status,
                {% if 'planned_start_at' in as_text %}coalesce(fixes.planned_start_at, cast(given.planned_start_at as string)){% else %}coalesce(try_cast(fixes.planned_start_at as timestamp), given.planned_start_at){% endif %} as planned_start_at,
                {% if 'planned_end_at' in as_text %}coalesce(fixes.planned_end_at, cast(given.planned_end_at as string)){% else %}coalesce(try_cast(fixes.planned_end_at as timestamp), given.planned_end_at){% endif %} as planned_end_at,
                {% if 'version' in as_text %}coalesce(fixes.version, cast(given.version as string)){% else %}coalesce(try_cast(fixes.version as bigint), given.version){% endif %} as version,
                {% if 'updated_at' in as_text %}coalesce(fixes.updated_at, cast(given.updated_at as string)){% else %}coalesce(try_cast(fixes.updated_at as timestamp), given.updated_at){% endif %} as updated_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('work_order', ['work_order_id', 'production_order_id', 'material_id', 'quantity', 'good_quantity', 'scrap_quantity', 'quantity_unit', 'status', 'planned_start_at', 'planned_end_at', 'version', 'updated_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
) as checked
{%- endmacro %}
