{# Made from standard/contracts/material_consumption.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__material_consumption(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Material consumption · 物料消耗, contract 1.0.0. -#}
    {%- do conform_demands('material_consumption', ['production_order'], ['quantity', 'consumed_at', 'recorded_at'], ['quantity_unit'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    event_id,
    production_order_id,
    material_id,
    reservation_item_id,
    quantity,
    quantity_unit,
    lot_id,
    consumed_at,
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
                or (material_id is null)
                or (quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %})
                or (coalesce(quantity, 0) <= 0)
                or (quantity_unit is null)
                or (consumed_at is null)
                or (consumed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'consumed_at' in as_text %}source_consumed_at{% else %}coalesce(cast(source_consumed_at as string), {{ unreadable('consumed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
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
                        when material_id is null
                            then named_struct('field', 'material_id', 'rule', 'required', 'reason', 'material_id is missing', 'reason_zh', '物料编码缺失', 'raw', cast(material_id as string), 'is_withheld', true)
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
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
                    end,
                    case
                        when consumed_at is null
                            then named_struct('field', 'consumed_at', 'rule', 'required', 'reason', 'consumed_at is missing', 'reason_zh', '消耗时间缺失', 'raw', cast(source_consumed_at as string), 'is_withheld', true)
                    end,
                    case
                        when consumed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'consumed_at' in as_text %}source_consumed_at{% else %}coalesce(cast(source_consumed_at as string), {{ unreadable('consumed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'consumed_at', 'rule', 'type', 'reason', concat('consumed_at must be a timestamp and is ', coalesce(cast({% if 'consumed_at' in as_text %}source_consumed_at{% else %}coalesce(cast(source_consumed_at as string), {{ unreadable('consumed_at', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('消耗时间的值', coalesce(cast({% if 'consumed_at' in as_text %}source_consumed_at{% else %}coalesce(cast(source_consumed_at as string), {{ unreadable('consumed_at', sent) }}){% endif %} as string), '空'), '不是有效的timestamp'), 'raw', cast({% if 'consumed_at' in as_text %}source_consumed_at{% else %}coalesce(cast(source_consumed_at as string), {{ unreadable('consumed_at', sent) }}){% endif %} as string), 'is_withheld', true)
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
            {{ material_number('material_id') }} as material_id,
            {{ without_zeros('reservation_item_id') }} as reservation_item_id,
            {% if 'quantity' in as_text %}try_cast({{ number('quantity') }} as decimal(15,3)){% else %}try_cast(quantity as decimal(15,3)){% endif %} as quantity,
            quantity as source_quantity,
            quantity_unit,
            source_quantity_unit,
            {{ blank_to_null('lot_id') }} as lot_id,
            {% if 'consumed_at' in as_text %}{{ timestamp('consumed_at') }}{% else %}try_cast(consumed_at as timestamp){% endif %} as consumed_at,
            consumed_at as source_consumed_at,
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
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.reservation_item_id, given.reservation_item_id) as reservation_item_id,
                {% if 'quantity' in as_text %}coalesce(fixes.quantity, cast(given.quantity as string)){% else %}coalesce(try_cast(fixes.quantity as decimal(15,3)), given.quantity){% endif %} as quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                coalesce(fixes.lot_id, given.lot_id) as lot_id,
                {% if 'consumed_at' in as_text %}coalesce(fixes.consumed_at, cast(given.consumed_at as string)){% else %}coalesce(try_cast(fixes.consumed_at as timestamp), given.consumed_at){% endif %} as consumed_at,
                {% if 'recorded_at' in as_text %}coalesce(fixes.recorded_at, cast(given.recorded_at as string)){% else %}coalesce(try_cast(fixes.recorded_at as timestamp), given.recorded_at){% endif %} as recorded_at,
                concat_ws(' ', given._datong_version, fixes._decision_id) as _datong_version,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('material_consumption', ['event_id', 'production_order_id', 'material_id', 'reservation_item_id', 'quantity', 'quantity_unit', 'lot_id', 'consumed_at', 'recorded_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['production_order'] %}
    left join (select distinct production_order_id as _known_production_order_production_order_id_0, true as _known_production_order_production_order_id from {{ parents['production_order'] }})
        on normalised.production_order_id = _known_production_order_production_order_id_0
    {%- endif %}
) as checked
{%- endmacro %}
