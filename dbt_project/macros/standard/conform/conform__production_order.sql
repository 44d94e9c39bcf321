{# Made from standard/contracts/production_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__production_order(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Production order · 生产订单, contract 1.0.0. -#}
    {%- do conform_demands('production_order', ['material'], ['quantity', 'delivered_quantity', 'planned_start_on', 'planned_end_on', 'actual_start_on', 'actual_end_on', 'changed_at'], ['quantity_unit', 'status'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    production_order_id,
    production_order_type,
    material_id,
    plant_id,
    quantity,
    delivered_quantity,
    quantity_unit,
    planned_start_on,
    planned_end_on,
    actual_start_on,
    actual_end_on,
    sales_order_id,
    sales_order_item_id,
    status,
    changed_at,
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
            when (production_order_id is null)
                or (material_id is null)
            {%- if parents['material'] %}
                or (material_id is not null and _known_material_material_id is null)
            {%- endif %}
                or (quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %})
                or (coalesce(quantity, 0) <= 0)
                or (delivered_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'delivered_quantity' in as_text %}source_delivered_quantity{% else %}coalesce(cast(source_delivered_quantity as string), {{ unreadable('delivered_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'delivered_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_delivered_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_delivered_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_delivered_quantity <> delivered_quantity{% endif %})
                or (quantity_unit is null)
                or (planned_start_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_start_on' in as_text %}source_planned_start_on{% else %}coalesce(cast(source_planned_start_on as string), {{ unreadable('planned_start_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (planned_end_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_end_on' in as_text %}source_planned_end_on{% else %}coalesce(cast(source_planned_end_on as string), {{ unreadable('planned_end_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (planned_end_on < planned_start_on)
                or (actual_start_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'actual_start_on' in as_text %}source_actual_start_on{% else %}coalesce(cast(source_actual_start_on as string), {{ unreadable('actual_start_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (actual_end_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'actual_end_on' in as_text %}source_actual_end_on{% else %}coalesce(cast(source_actual_end_on as string), {{ unreadable('actual_end_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (status is null)
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when production_order_id is null
                            then named_struct('field', 'production_order_id', 'rule', 'required', 'reason', 'production_order_id is missing', 'reason_zh', '生产订单号缺失', 'raw', cast(production_order_id as string), 'is_withheld', true)
                    end,
                    case
                        when material_id is null
                            then named_struct('field', 'material_id', 'rule', 'required', 'reason', 'material_id is missing', 'reason_zh', '物料编码缺失', 'raw', cast(material_id as string), 'is_withheld', true)
                    end
        {%- if parents['material'] %},
                    case
                        when material_id is not null and _known_material_material_id is null
                            then named_struct('field', 'material_id', 'rule', 'refers_to_material', 'reason', concat('material ', coalesce(cast(material_id as string), 'missing'), ' is not known'), 'reason_zh', concat('物料', coalesce(cast(material_id as string), '空'), '不存在'), 'raw', cast(material_id as string), 'is_withheld', true)
                    end
        {%- endif %},
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
                        when delivered_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'delivered_quantity' in as_text %}source_delivered_quantity{% else %}coalesce(cast(source_delivered_quantity as string), {{ unreadable('delivered_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'delivered_quantity', 'rule', 'type', 'reason', concat('delivered_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'delivered_quantity' in as_text %}source_delivered_quantity{% else %}coalesce(cast(source_delivered_quantity as string), {{ unreadable('delivered_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('已交货数量的值', coalesce(cast({% if 'delivered_quantity' in as_text %}source_delivered_quantity{% else %}coalesce(cast(source_delivered_quantity as string), {{ unreadable('delivered_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'delivered_quantity' in as_text %}source_delivered_quantity{% else %}coalesce(cast(source_delivered_quantity as string), {{ unreadable('delivered_quantity', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'delivered_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_delivered_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_delivered_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_delivered_quantity <> delivered_quantity{% endif %}
                            then named_struct('field', 'delivered_quantity', 'rule', 'decimals', 'reason', concat('delivered_quantity may have 3 decimals and is ', coalesce(cast(source_delivered_quantity as string), 'missing')), 'reason_zh', concat('已交货数量最多3位小数，实际为', coalesce(cast(source_delivered_quantity as string), '空')), 'raw', cast(source_delivered_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
                    end,
                    case
                        when planned_start_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_start_on' in as_text %}source_planned_start_on{% else %}coalesce(cast(source_planned_start_on as string), {{ unreadable('planned_start_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'planned_start_on', 'rule', 'type', 'reason', concat('planned_start_on must be a date and is ', coalesce(cast({% if 'planned_start_on' in as_text %}source_planned_start_on{% else %}coalesce(cast(source_planned_start_on as string), {{ unreadable('planned_start_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('计划开始日期的值', coalesce(cast({% if 'planned_start_on' in as_text %}source_planned_start_on{% else %}coalesce(cast(source_planned_start_on as string), {{ unreadable('planned_start_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'planned_start_on' in as_text %}source_planned_start_on{% else %}coalesce(cast(source_planned_start_on as string), {{ unreadable('planned_start_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when planned_end_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'planned_end_on' in as_text %}source_planned_end_on{% else %}coalesce(cast(source_planned_end_on as string), {{ unreadable('planned_end_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'planned_end_on', 'rule', 'type', 'reason', concat('planned_end_on must be a date and is ', coalesce(cast({% if 'planned_end_on' in as_text %}source_planned_end_on{% else %}coalesce(cast(source_planned_end_on as string), {{ unreadable('planned_end_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('计划结束日期的值', coalesce(cast({% if 'planned_end_on' in as_text %}source_planned_end_on{% else %}coalesce(cast(source_planned_end_on as string), {{ unreadable('planned_end_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'planned_end_on' in as_text %}source_planned_end_on{% else %}coalesce(cast(source_planned_end_on as string), {{ unreadable('planned_end_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when planned_end_on < planned_start_on
                            then named_struct('field', 'planned_end_on', 'rule', 'compare', 'reason', concat('planned_end_on must be >= its planned start (', coalesce(cast(planned_start_on as string), 'missing'), ') and is ', coalesce(cast(planned_end_on as string), 'missing')), 'reason_zh', concat('计划结束日期必须>=计划开始日期（', coalesce(cast(planned_start_on as string), '空'), '），实际为', coalesce(cast(planned_end_on as string), '空')), 'raw', cast(source_planned_end_on as string), 'is_withheld', false)
                    end,
                    case
                        when actual_start_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'actual_start_on' in as_text %}source_actual_start_on{% else %}coalesce(cast(source_actual_start_on as string), {{ unreadable('actual_start_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'actual_start_on', 'rule', 'type', 'reason', concat('actual_start_on must be a date and is ', coalesce(cast({% if 'actual_start_on' in as_text %}source_actual_start_on{% else %}coalesce(cast(source_actual_start_on as string), {{ unreadable('actual_start_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('实际开始日期的值', coalesce(cast({% if 'actual_start_on' in as_text %}source_actual_start_on{% else %}coalesce(cast(source_actual_start_on as string), {{ unreadable('actual_start_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'actual_start_on' in as_text %}source_actual_start_on{% else %}coalesce(cast(source_actual_start_on as string), {{ unreadable('actual_start_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when actual_end_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'actual_end_on' in as_text %}source_actual_end_on{% else %}coalesce(cast(source_actual_end_on as string), {{ unreadable('actual_end_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'actual_end_on', 'rule', 'type', 'reason', concat('actual_end_on must be a date and is ', coalesce(cast({% if 'actual_end_on' in as_text %}source_actual_end_on{% else %}coalesce(cast(source_actual_end_on as string), {{ unreadable('actual_end_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('实际结束日期的值', coalesce(cast({% if 'actual_end_on' in as_text %}source_actual_end_on{% else %}coalesce(cast(source_actual_end_on as string), {{ unreadable('actual_end_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'actual_end_on' in as_text %}source_actual_end_on{% else %}coalesce(cast(source_actual_end_on as string), {{ unreadable('actual_end_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when status is null
                            then named_struct('field', 'status', 'rule', 'known_production_order_status', 'reason', concat('production order status ', coalesce(cast(source_status as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集production order status的对照表中没有', coalesce(cast(source_status as string), '空')), 'raw', cast(source_status as string), 'is_withheld', true)
                    end,
                    case
                        when changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'changed_at', 'rule', 'type', 'reason', concat('changed_at must be a timestamp and is ', coalesce(cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('更改时间的值', coalesce(cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string), 'is_withheld', false)
                    end
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ without_zeros('production_order_id') }} as production_order_id,
            {{ blank_to_null('production_order_type') }} as production_order_type,
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('plant_id') }} as plant_id,
            {% if 'quantity' in as_text %}try_cast({{ number('quantity') }} as decimal(15,3)){% else %}try_cast(quantity as decimal(15,3)){% endif %} as quantity,
            quantity as source_quantity,
            {% if 'delivered_quantity' in as_text %}try_cast({{ number('delivered_quantity') }} as decimal(15,3)){% else %}try_cast(delivered_quantity as decimal(15,3)){% endif %} as delivered_quantity,
            delivered_quantity as source_delivered_quantity,
            quantity_unit,
            source_quantity_unit,
            {% if 'planned_start_on' in as_text %}{{ date('planned_start_on') }}{% else %}try_cast(planned_start_on as date){% endif %} as planned_start_on,
            planned_start_on as source_planned_start_on,
            {% if 'planned_end_on' in as_text %}{{ date('planned_end_on') }}{% else %}try_cast(planned_end_on as date){% endif %} as planned_end_on,
            planned_end_on as source_planned_end_on,
            {% if 'actual_start_on' in as_text %}{{ date('actual_start_on') }}{% else %}try_cast(actual_start_on as date){% endif %} as actual_start_on,
            actual_start_on as source_actual_start_on,
            {% if 'actual_end_on' in as_text %}{{ date('actual_end_on') }}{% else %}try_cast(actual_end_on as date){% endif %} as actual_end_on,
            actual_end_on as source_actual_end_on,
            {{ without_zeros('sales_order_id') }} as sales_order_id,
            {{ without_zeros('sales_order_item_id') }} as sales_order_item_id,
            status,
            source_status,
            {% if 'changed_at' in as_text %}{{ timestamp('changed_at') }}{% else %}try_cast(changed_at as timestamp){% endif %} as changed_at,
            changed_at as source_changed_at,
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
                coalesce(fixes.production_order_id, given.production_order_id) as production_order_id,
                coalesce(fixes.production_order_type, given.production_order_type) as production_order_type,
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.plant_id, given.plant_id) as plant_id,
                {% if 'quantity' in as_text %}coalesce(fixes.quantity, cast(given.quantity as string)){% else %}coalesce(try_cast(fixes.quantity as decimal(15,3)), given.quantity){% endif %} as quantity,
                {% if 'delivered_quantity' in as_text %}coalesce(fixes.delivered_quantity, cast(given.delivered_quantity as string)){% else %}coalesce(try_cast(fixes.delivered_quantity as decimal(15,3)), given.delivered_quantity){% endif %} as delivered_quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                {% if 'planned_start_on' in as_text %}coalesce(fixes.planned_start_on, cast(given.planned_start_on as string)){% else %}coalesce(try_cast(fixes.planned_start_on as date), given.planned_start_on){% endif %} as planned_start_on,
                {% if 'planned_end_on' in as_text %}coalesce(fixes.planned_end_on, cast(given.planned_end_on as string)){% else %}coalesce(try_cast(fixes.planned_end_on as date), given.planned_end_on){% endif %} as planned_end_on,
                {% if 'actual_start_on' in as_text %}coalesce(fixes.actual_start_on, cast(given.actual_start_on as string)){% else %}coalesce(try_cast(fixes.actual_start_on as date), given.actual_start_on){% endif %} as actual_start_on,
                {% if 'actual_end_on' in as_text %}coalesce(fixes.actual_end_on, cast(given.actual_end_on as string)){% else %}coalesce(try_cast(fixes.actual_end_on as date), given.actual_end_on){% endif %} as actual_end_on,
                coalesce(fixes.sales_order_id, given.sales_order_id) as sales_order_id,
                coalesce(fixes.sales_order_item_id, given.sales_order_item_id) as sales_order_item_id,
                coalesce(fixes.status, given.status) as status,
                given.{{ 'status' if 'status' in computed else 'source_status' }} as source_status,
                {% if 'changed_at' in as_text %}coalesce(fixes.changed_at, cast(given.changed_at as string)){% else %}coalesce(try_cast(fixes.changed_at as timestamp), given.changed_at){% endif %} as changed_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('production_order', ['production_order_id', 'production_order_type', 'material_id', 'plant_id', 'quantity', 'delivered_quantity', 'quantity_unit', 'planned_start_on', 'planned_end_on', 'actual_start_on', 'actual_end_on', 'sales_order_id', 'sales_order_item_id', 'status', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['material'] %}
    left join (select distinct material_id as _known_material_material_id_0, true as _known_material_material_id from {{ parents['material'] }})
        on normalised.material_id = _known_material_material_id_0
    {%- endif %}
) as checked
{%- endmacro %}
