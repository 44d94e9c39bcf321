{# Made from standard/contracts/material_movement.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__material_movement(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Material movement · 物料移动, contract 1.0.0. -#}
    {%- do conform_demands('material_movement', ['material', 'material_document'], ['posted_on', 'document_on', 'quantity', 'signed_quantity', 'created_on'], ['movement_type', 'direction', 'quantity_unit'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    material_document_year,
    material_document_id,
    material_document_item_id,
    posted_on,
    document_on,
    movement_type,
    direction,
    material_id,
    plant_id,
    storage_location_id,
    quantity,
    signed_quantity,
    quantity_unit,
    production_order_id,
    sales_order_id,
    sales_order_item_id,
    reservation_id,
    reservation_item_id,
    reference_document,
    header_text,
    item_text,
    created_by,
    created_on,
    source_movement_type,
    source_direction,
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
            when (material_document_id is null)
                or (posted_on is null)
                or (posted_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'posted_on' in as_text %}source_posted_on{% else %}coalesce(cast(source_posted_on as string), {{ unreadable('posted_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (posted_on not between date'1990-01-01' and date'2099-12-31')
                or (document_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'document_on' in as_text %}source_document_on{% else %}coalesce(cast(source_document_on as string), {{ unreadable('document_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (movement_type is null)
                or (direction is null)
                or (material_id is null)
            {%- if parents['material'] %}
                or (material_id is not null and _known_material_material_id is null)
            {%- endif %}
                or (quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %})
                or (coalesce(quantity, 0) <= 0)
                or (signed_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'signed_quantity' in as_text %}source_signed_quantity{% else %}coalesce(cast(source_signed_quantity as string), {{ unreadable('signed_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'signed_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_signed_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_signed_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_signed_quantity <> signed_quantity{% endif %})
                or (quantity_unit is null)
                or (created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            {%- if parents['material_document'] %}
                or (material_document_id is not null and _known_material_document_material_document_id is null)
            {%- endif %}
            then filter(
                array(
                    case
                        when material_document_id is null
                            then named_struct('field', 'material_document_id', 'rule', 'required', 'reason', 'material_document_id is missing', 'reason_zh', '物料凭证号缺失', 'raw', cast(material_document_id as string), 'is_withheld', true)
                    end,
                    case
                        when posted_on is null
                            then named_struct('field', 'posted_on', 'rule', 'required', 'reason', 'posted_on is missing', 'reason_zh', '过账日期缺失', 'raw', cast(source_posted_on as string), 'is_withheld', true)
                    end,
                    case
                        when posted_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'posted_on' in as_text %}source_posted_on{% else %}coalesce(cast(source_posted_on as string), {{ unreadable('posted_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'posted_on', 'rule', 'type', 'reason', concat('posted_on must be a date and is ', coalesce(cast({% if 'posted_on' in as_text %}source_posted_on{% else %}coalesce(cast(source_posted_on as string), {{ unreadable('posted_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('过账日期的值', coalesce(cast({% if 'posted_on' in as_text %}source_posted_on{% else %}coalesce(cast(source_posted_on as string), {{ unreadable('posted_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'posted_on' in as_text %}source_posted_on{% else %}coalesce(cast(source_posted_on as string), {{ unreadable('posted_on', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when posted_on not between date'1990-01-01' and date'2099-12-31'
                            then named_struct('field', 'posted_on', 'rule', 'plausible_date', 'reason', concat('posted_on must be from 1990-01-01 to 2099-12-31 and is ', coalesce(cast(posted_on as string), 'missing')), 'reason_zh', concat('过账日期必须在1990-01-01到2099-12-31之间，实际为', coalesce(cast(posted_on as string), '空')), 'raw', cast(source_posted_on as string), 'is_withheld', true)
                    end,
                    case
                        when document_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'document_on' in as_text %}source_document_on{% else %}coalesce(cast(source_document_on as string), {{ unreadable('document_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'document_on', 'rule', 'type', 'reason', concat('document_on must be a date and is ', coalesce(cast({% if 'document_on' in as_text %}source_document_on{% else %}coalesce(cast(source_document_on as string), {{ unreadable('document_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('凭证日期的值', coalesce(cast({% if 'document_on' in as_text %}source_document_on{% else %}coalesce(cast(source_document_on as string), {{ unreadable('document_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'document_on' in as_text %}source_document_on{% else %}coalesce(cast(source_document_on as string), {{ unreadable('document_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when movement_type is null
                            then named_struct('field', 'movement_type', 'rule', 'known_movement_type', 'reason', concat('movement type ', coalesce(cast(source_movement_type as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集movement type的对照表中没有', coalesce(cast(source_movement_type as string), '空')), 'raw', cast(source_movement_type as string), 'is_withheld', true)
                    end,
                    case
                        when direction is null
                            then named_struct('field', 'direction', 'rule', 'known_direction', 'reason', concat('direction ', coalesce(cast(source_direction as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集direction的对照表中没有', coalesce(cast(source_direction as string), '空')), 'raw', cast(source_direction as string), 'is_withheld', true)
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
                        when signed_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'signed_quantity' in as_text %}source_signed_quantity{% else %}coalesce(cast(source_signed_quantity as string), {{ unreadable('signed_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'signed_quantity', 'rule', 'type', 'reason', concat('signed_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'signed_quantity' in as_text %}source_signed_quantity{% else %}coalesce(cast(source_signed_quantity as string), {{ unreadable('signed_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('带符号数量的值', coalesce(cast({% if 'signed_quantity' in as_text %}source_signed_quantity{% else %}coalesce(cast(source_signed_quantity as string), {{ unreadable('signed_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'signed_quantity' in as_text %}source_signed_quantity{% else %}coalesce(cast(source_signed_quantity as string), {{ unreadable('signed_quantity', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'signed_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_signed_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_signed_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_signed_quantity <> signed_quantity{% endif %}
                            then named_struct('field', 'signed_quantity', 'rule', 'decimals', 'reason', concat('signed_quantity may have 3 decimals and is ', coalesce(cast(source_signed_quantity as string), 'missing')), 'reason_zh', concat('带符号数量最多3位小数，实际为', coalesce(cast(source_signed_quantity as string), '空')), 'raw', cast(source_signed_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
                    end,
                    case
                        when created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'created_on', 'rule', 'type', 'reason', concat('created_on must be a date and is ', coalesce(cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('创建日期的值', coalesce(cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end
        {%- if parents['material_document'] %},
                    case
                        when material_document_id is not null and _known_material_document_material_document_id is null
                            then named_struct('field', 'material_document_id', 'rule', 'refers_to_material_document', 'reason', concat('material document ', coalesce(cast(material_document_id as string), 'missing'), ' is not known'), 'reason_zh', concat('所引用的记录', coalesce(cast(material_document_id as string), '空'), '不存在'), 'raw', cast(material_document_id as string), 'is_withheld', true)
                    end
        {%- endif %}
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ blank_to_null('material_document_year') }} as material_document_year,
            {{ without_zeros('material_document_id') }} as material_document_id,
            {{ without_zeros('material_document_item_id') }} as material_document_item_id,
            {% if 'posted_on' in as_text %}{{ date('posted_on') }}{% else %}try_cast(posted_on as date){% endif %} as posted_on,
            posted_on as source_posted_on,
            {% if 'document_on' in as_text %}{{ date('document_on') }}{% else %}try_cast(document_on as date){% endif %} as document_on,
            document_on as source_document_on,
            movement_type,
            source_movement_type,
            direction,
            source_direction,
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('plant_id') }} as plant_id,
            {{ blank_to_null('storage_location_id') }} as storage_location_id,
            {% if 'quantity' in as_text %}try_cast({{ number('quantity') }} as decimal(15,3)){% else %}try_cast(quantity as decimal(15,3)){% endif %} as quantity,
            quantity as source_quantity,
            {% if 'signed_quantity' in as_text %}try_cast({{ number('signed_quantity') }} as decimal(15,3)){% else %}try_cast(signed_quantity as decimal(15,3)){% endif %} as signed_quantity,
            signed_quantity as source_signed_quantity,
            quantity_unit,
            source_quantity_unit,
            {{ without_zeros('production_order_id') }} as production_order_id,
            {{ without_zeros('sales_order_id') }} as sales_order_id,
            {{ without_zeros('sales_order_item_id') }} as sales_order_item_id,
            {{ without_zeros('reservation_id') }} as reservation_id,
            {{ without_zeros('reservation_item_id') }} as reservation_item_id,
            {{ blank_to_null('reference_document') }} as reference_document,
            {{ blank_to_null('header_text') }} as header_text,
            {{ blank_to_null('item_text') }} as item_text,
            {{ blank_to_null('created_by') }} as created_by,
            {% if 'created_on' in as_text %}{{ date('created_on') }}{% else %}try_cast(created_on as date){% endif %} as created_on,
            created_on as source_created_on,
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
                coalesce(fixes.material_document_year, given.material_document_year) as material_document_year,
                coalesce(fixes.material_document_id, given.material_document_id) as material_document_id,
                coalesce(fixes.material_document_item_id, given.material_document_item_id) as material_document_item_id,
                {% if 'posted_on' in as_text %}coalesce(fixes.posted_on, cast(given.posted_on as string)){% else %}coalesce(try_cast(fixes.posted_on as date), given.posted_on){% endif %} as posted_on,
                {% if 'document_on' in as_text %}coalesce(fixes.document_on, cast(given.document_on as string)){% else %}coalesce(try_cast(fixes.document_on as date), given.document_on){% endif %} as document_on,
                coalesce(fixes.movement_type, given.movement_type) as movement_type,
                given.{{ 'movement_type' if 'movement_type' in computed else 'source_movement_type' }} as source_movement_type,
                coalesce(fixes.direction, given.direction) as direction,
                given.{{ 'direction' if 'direction' in computed else 'source_direction' }} as source_direction,
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.plant_id, given.plant_id) as plant_id,
                coalesce(fixes.storage_location_id, given.storage_location_id) as storage_location_id,
                {% if 'quantity' in as_text %}coalesce(fixes.quantity, cast(given.quantity as string)){% else %}coalesce(try_cast(fixes.quantity as decimal(15,3)), given.quantity){% endif %} as quantity,
                {% if 'signed_quantity' in as_text %}coalesce(fixes.signed_quantity, cast(given.signed_quantity as string)){% else %}coalesce(try_cast(fixes.signed_quantity as decimal(15,3)), given.signed_quantity){% endif %} as signed_quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                coalesce(fixes.production_order_id, given.production_order_id) as production_order_id,
                coalesce(fixes.sales_order_id, given.sales_order_id) as sales_order_id,
                coalesce(fixes.sales_order_item_id, given.sales_order_item_id) as sales_order_item_id,
                coalesce(fixes.reservation_id, given.reservation_id) as reservation_id,
                coalesce(fixes.reservation_item_id, given.reservation_item_id) as reservation_item_id,
                coalesce(fixes.reference_document, given.reference_document) as reference_document,
                coalesce(fixes.header_text, given.header_text) as header_text,
                coalesce(fixes.item_text, given.item_text) as item_text,
                coalesce(fixes.created_by, given.created_by) as created_by,
                {% if 'created_on' in as_text %}coalesce(fixes.created_on, cast(given.created_on as string)){% else %}coalesce(try_cast(fixes.created_on as date), given.created_on){% endif %} as created_on,
                concat_ws(' ', given._datong_version, fixes._decision_id) as _datong_version,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('material_movement', ['material_document_year', 'material_document_id', 'material_document_item_id', 'posted_on', 'document_on', 'movement_type', 'direction', 'material_id', 'plant_id', 'storage_location_id', 'quantity', 'signed_quantity', 'quantity_unit', 'production_order_id', 'sales_order_id', 'sales_order_item_id', 'reservation_id', 'reservation_item_id', 'reference_document', 'header_text', 'item_text', 'created_by', 'created_on']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['material'] %}
    left join (select distinct material_id as _known_material_material_id_0, true as _known_material_material_id from {{ parents['material'] }})
        on normalised.material_id = _known_material_material_id_0
    {%- endif %}
    {%- if parents['material_document'] %}
    left join (select distinct material_document_year as _known_material_document_material_document_id_0, material_document_id as _known_material_document_material_document_id_1, true as _known_material_document_material_document_id from {{ parents['material_document'] }})
        on normalised.material_document_year = _known_material_document_material_document_id_0 and normalised.material_document_id = _known_material_document_material_document_id_1
    {%- endif %}
) as checked
{%- endmacro %}
