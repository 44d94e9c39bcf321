{# Made from standard/contracts/sales_order_item.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__sales_order_item(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Sales order item · 销售订单行, contract 1.0.0. -#}
    {%- do conform_demands('sales_order_item', ['material', 'sales_order'], ['quantity', 'delivered_quantity', 'amount', 'is_rejected'], ['quantity_unit', 'currency', 'status', 'delivery_status'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    sales_order_id,
    sales_order_item_id,
    material_id,
    item_text,
    plant_id,
    storage_location_id,
    quantity,
    delivered_quantity,
    quantity_unit,
    amount,
    currency,
    status,
    delivery_status,
    is_rejected,
    rejection_reason,
    source_quantity_unit,
    source_currency,
    source_status,
    source_delivery_status,
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
            when (sales_order_id is null)
            {%- if parents['sales_order'] %}
                or (sales_order_id is not null and _known_sales_order_sales_order_id is null)
            {%- endif %}
                or (sales_order_item_id is null)
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
                or (amount is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'amount' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_amount as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_amount as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_amount <> amount{% endif %})
                or (currency is null)
                or (status is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_status as string)), '') <> '')
                or (delivery_status is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_delivery_status as string)), '') <> '')
                or (is_rejected is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_rejected' in as_text %}source_is_rejected{% else %}coalesce(cast(source_is_rejected as string), {{ unreadable('is_rejected', sent) }}){% endif %} as string)), '') <> '')
            then filter(
                array(
                    case
                        when sales_order_id is null
                            then named_struct('field', 'sales_order_id', 'rule', 'required', 'reason', 'sales_order_id is missing', 'reason_zh', '销售订单号缺失', 'raw', cast(sales_order_id as string), 'is_withheld', true)
                    end
        {%- if parents['sales_order'] %},
                    case
                        when sales_order_id is not null and _known_sales_order_sales_order_id is null
                            then named_struct('field', 'sales_order_id', 'rule', 'refers_to_sales_order', 'reason', concat('sales order ', coalesce(cast(sales_order_id as string), 'missing'), ' is not known'), 'reason_zh', concat('销售订单', coalesce(cast(sales_order_id as string), '空'), '不存在'), 'raw', cast(sales_order_id as string), 'is_withheld', true)
                    end
        {%- endif %},
                    case
                        when sales_order_item_id is null
                            then named_struct('field', 'sales_order_item_id', 'rule', 'required', 'reason', 'sales_order_item_id is missing', 'reason_zh', '销售订单行号缺失', 'raw', cast(sales_order_item_id as string), 'is_withheld', true)
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
                        when amount is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'amount', 'rule', 'type', 'reason', concat('amount must be a decimal(18,3) and is ', coalesce(cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('净额的值', coalesce(cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,3)'), 'raw', cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'amount' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_amount as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_amount as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_amount <> amount{% endif %}
                            then named_struct('field', 'amount', 'rule', 'decimals', 'reason', concat('amount may have 3 decimals and is ', coalesce(cast(source_amount as string), 'missing')), 'reason_zh', concat('净额最多3位小数，实际为', coalesce(cast(source_amount as string), '空')), 'raw', cast(source_amount as string), 'is_withheld', false)
                    end,
                    case
                        when currency is null
                            then named_struct('field', 'currency', 'rule', 'known_currency', 'reason', concat('currency ', coalesce(cast(source_currency as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集currency的对照表中没有', coalesce(cast(source_currency as string), '空')), 'raw', cast(source_currency as string), 'is_withheld', true)
                    end,
                    case
                        when status is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_status as string)), '') <> ''
                            then named_struct('field', 'status', 'rule', 'known_document_status', 'reason', concat('document status ', coalesce(cast(source_status as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集document status的对照表中没有', coalesce(cast(source_status as string), '空')), 'raw', cast(source_status as string), 'is_withheld', false)
                    end,
                    case
                        when delivery_status is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_delivery_status as string)), '') <> ''
                            then named_struct('field', 'delivery_status', 'rule', 'known_document_status', 'reason', concat('document status ', coalesce(cast(source_delivery_status as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集document status的对照表中没有', coalesce(cast(source_delivery_status as string), '空')), 'raw', cast(source_delivery_status as string), 'is_withheld', false)
                    end,
                    case
                        when is_rejected is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_rejected' in as_text %}source_is_rejected{% else %}coalesce(cast(source_is_rejected as string), {{ unreadable('is_rejected', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'is_rejected', 'rule', 'type', 'reason', concat('is_rejected must be a boolean and is ', coalesce(cast({% if 'is_rejected' in as_text %}source_is_rejected{% else %}coalesce(cast(source_is_rejected as string), {{ unreadable('is_rejected', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('是否拒绝的值', coalesce(cast({% if 'is_rejected' in as_text %}source_is_rejected{% else %}coalesce(cast(source_is_rejected as string), {{ unreadable('is_rejected', sent) }}){% endif %} as string), '空'), '不是有效的boolean'), 'raw', cast({% if 'is_rejected' in as_text %}source_is_rejected{% else %}coalesce(cast(source_is_rejected as string), {{ unreadable('is_rejected', sent) }}){% endif %} as string), 'is_withheld', false)
                    end
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ without_zeros('sales_order_id') }} as sales_order_id,
            {{ without_zeros('sales_order_item_id') }} as sales_order_item_id,
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('item_text') }} as item_text,
            {{ blank_to_null('plant_id') }} as plant_id,
            {{ blank_to_null('storage_location_id') }} as storage_location_id,
            {% if 'quantity' in as_text %}try_cast({{ number('quantity') }} as decimal(15,3)){% else %}try_cast(quantity as decimal(15,3)){% endif %} as quantity,
            quantity as source_quantity,
            {% if 'delivered_quantity' in as_text %}try_cast({{ number('delivered_quantity') }} as decimal(15,3)){% else %}try_cast(delivered_quantity as decimal(15,3)){% endif %} as delivered_quantity,
            delivered_quantity as source_delivered_quantity,
            quantity_unit,
            source_quantity_unit,
            {% if 'amount' in as_text %}try_cast({{ number('amount') }} as decimal(18,3)){% else %}try_cast(amount as decimal(18,3)){% endif %} as amount,
            amount as source_amount,
            currency,
            source_currency,
            status,
            source_status,
            delivery_status,
            source_delivery_status,
            {% if 'is_rejected' in as_text %}{{ boolean('is_rejected') }}{% else %}try_cast(is_rejected as boolean){% endif %} as is_rejected,
            is_rejected as source_is_rejected,
            {{ blank_to_null('rejection_reason') }} as rejection_reason,
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
                coalesce(fixes.sales_order_id, given.sales_order_id) as sales_order_id,
                coalesce(fixes.sales_order_item_id, given.sales_order_item_id) as sales_order_item_id,
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.item_text, given.item_text) as item_text,
                coalesce(fixes.plant_id, given.plant_id) as plant_id,
                coalesce(fixes.storage_location_id, given.storage_location_id) as storage_location_id,
                {% if 'quantity' in as_text %}coalesce(fixes.quantity, cast(given.quantity as string)){% else %}coalesce(try_cast(fixes.quantity as decimal(15,3)), given.quantity){% endif %} as quantity,
                {% if 'delivered_quantity' in as_text %}coalesce(fixes.delivered_quantity, cast(given.delivered_quantity as string)){% else %}coalesce(try_cast(fixes.delivered_quantity as decimal(15,3)), given.delivered_quantity){% endif %} as delivered_quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                {% if 'amount' in as_text %}coalesce(fixes.amount, cast(given.amount as string)){% else %}coalesce(try_cast(fixes.amount as decimal(18,3)), given.amount){% endif %} as amount,
                coalesce(fixes.currency, given.currency) as currency,
                given.{{ 'currency' if 'currency' in computed else 'source_currency' }} as source_currency,
                coalesce(fixes.status, given.status) as status,
                given.{{ 'status' if 'status' in computed else 'source_status' }} as source_status,
                coalesce(fixes.delivery_status, given.delivery_status) as delivery_status,
                given.{{ 'delivery_status' if 'delivery_status' in computed else 'source_delivery_status' }} as source_delivery_status,
                {% if 'is_rejected' in as_text %}coalesce(fixes.is_rejected, cast(given.is_rejected as string)){% else %}coalesce(try_cast(fixes.is_rejected as boolean), given.is_rejected){% endif %} as is_rejected,
                coalesce(fixes.rejection_reason, given.rejection_reason) as rejection_reason,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('sales_order_item', ['sales_order_id', 'sales_order_item_id', 'material_id', 'item_text', 'plant_id', 'storage_location_id', 'quantity', 'delivered_quantity', 'quantity_unit', 'amount', 'currency', 'status', 'delivery_status', 'is_rejected', 'rejection_reason']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['sales_order'] %}
    left join (select distinct sales_order_id as _known_sales_order_sales_order_id_0, true as _known_sales_order_sales_order_id from {{ parents['sales_order'] }})
        on normalised.sales_order_id = _known_sales_order_sales_order_id_0
    {%- endif %}
    {%- if parents['material'] %}
    left join (select distinct material_id as _known_material_material_id_0, true as _known_material_material_id from {{ parents['material'] }})
        on normalised.material_id = _known_material_material_id_0
    {%- endif %}
) as checked
{%- endmacro %}
