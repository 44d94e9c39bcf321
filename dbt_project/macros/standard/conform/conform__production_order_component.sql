{# Made from standard/contracts/production_order_component.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__production_order_component(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Production order component · 生产订单组件, contract 1.0.0. -#}
    {%- do conform_demands('production_order_component', ['material', 'production_order'], ['required_quantity', 'withdrawn_quantity', 'changed_at'], ['quantity_unit'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    production_order_id,
    reservation_id,
    reservation_item_id,
    source_reservation,
    source_reservation_item,
    material_id,
    plant_id,
    storage_location_id,
    required_quantity,
    withdrawn_quantity,
    quantity_unit,
    changed_at,
    source_quantity_unit,
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
            {%- if parents['production_order'] %}
                or (production_order_id is not null and _known_production_order_production_order_id is null)
            {%- endif %}
                or (reservation_id is null)
                or (reservation_item_id is null)
                or (material_id is null)
            {%- if parents['material'] %}
                or (material_id is not null and _known_material_material_id is null)
            {%- endif %}
                or (required_quantity is null)
                or (required_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'required_quantity' in as_text %}source_required_quantity{% else %}coalesce(cast(source_required_quantity as string), {{ unreadable('required_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'required_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_required_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_required_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_required_quantity <> required_quantity{% endif %})
                or (required_quantity < 0)
                or (withdrawn_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'withdrawn_quantity' in as_text %}source_withdrawn_quantity{% else %}coalesce(cast(source_withdrawn_quantity as string), {{ unreadable('withdrawn_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'withdrawn_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_withdrawn_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_withdrawn_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_withdrawn_quantity <> withdrawn_quantity{% endif %})
                or (quantity_unit is null)
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
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
                        when reservation_id is null
                            then named_struct('field', 'reservation_id', 'rule', 'required', 'reason', 'reservation_id is missing', 'reason_zh', '预留号缺失', 'raw', cast(reservation_id as string), 'is_withheld', true)
                    end,
                    case
                        when reservation_item_id is null
                            then named_struct('field', 'reservation_item_id', 'rule', 'required', 'reason', 'reservation_item_id is missing', 'reason_zh', '预留项目缺失', 'raw', cast(reservation_item_id as string), 'is_withheld', true)
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
                        when required_quantity is null
                            then named_struct('field', 'required_quantity', 'rule', 'required', 'reason', 'required_quantity is missing', 'reason_zh', '需求数量缺失', 'raw', cast(source_required_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when required_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'required_quantity' in as_text %}source_required_quantity{% else %}coalesce(cast(source_required_quantity as string), {{ unreadable('required_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'required_quantity', 'rule', 'type', 'reason', concat('required_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'required_quantity' in as_text %}source_required_quantity{% else %}coalesce(cast(source_required_quantity as string), {{ unreadable('required_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('需求数量的值', coalesce(cast({% if 'required_quantity' in as_text %}source_required_quantity{% else %}coalesce(cast(source_required_quantity as string), {{ unreadable('required_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'required_quantity' in as_text %}source_required_quantity{% else %}coalesce(cast(source_required_quantity as string), {{ unreadable('required_quantity', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when {% if 'required_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_required_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_required_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_required_quantity <> required_quantity{% endif %}
                            then named_struct('field', 'required_quantity', 'rule', 'decimals', 'reason', concat('required_quantity may have 3 decimals and is ', coalesce(cast(source_required_quantity as string), 'missing')), 'reason_zh', concat('需求数量最多3位小数，实际为', coalesce(cast(source_required_quantity as string), '空')), 'raw', cast(source_required_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when required_quantity < 0
                            then named_struct('field', 'required_quantity', 'rule', 'not_negative', 'reason', concat('required_quantity must not be below zero and is ', coalesce(cast(required_quantity as string), 'missing')), 'reason_zh', concat('需求数量不得小于零，实际为', coalesce(cast(required_quantity as string), '空')), 'raw', cast(source_required_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when withdrawn_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'withdrawn_quantity' in as_text %}source_withdrawn_quantity{% else %}coalesce(cast(source_withdrawn_quantity as string), {{ unreadable('withdrawn_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'withdrawn_quantity', 'rule', 'type', 'reason', concat('withdrawn_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'withdrawn_quantity' in as_text %}source_withdrawn_quantity{% else %}coalesce(cast(source_withdrawn_quantity as string), {{ unreadable('withdrawn_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('已领数量的值', coalesce(cast({% if 'withdrawn_quantity' in as_text %}source_withdrawn_quantity{% else %}coalesce(cast(source_withdrawn_quantity as string), {{ unreadable('withdrawn_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'withdrawn_quantity' in as_text %}source_withdrawn_quantity{% else %}coalesce(cast(source_withdrawn_quantity as string), {{ unreadable('withdrawn_quantity', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'withdrawn_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_withdrawn_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_withdrawn_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_withdrawn_quantity <> withdrawn_quantity{% endif %}
                            then named_struct('field', 'withdrawn_quantity', 'rule', 'decimals', 'reason', concat('withdrawn_quantity may have 3 decimals and is ', coalesce(cast(source_withdrawn_quantity as string), 'missing')), 'reason_zh', concat('已领数量最多3位小数，实际为', coalesce(cast(source_withdrawn_quantity as string), '空')), 'raw', cast(source_withdrawn_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
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
            {{ without_zeros('reservation_id') }} as reservation_id,
            {{ without_zeros('reservation_item_id') }} as reservation_item_id,
            source_reservation,
            source_reservation_item,
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('plant_id') }} as plant_id,
            {{ blank_to_null('storage_location_id') }} as storage_location_id,
            {% if 'required_quantity' in as_text %}try_cast({{ number('required_quantity') }} as decimal(15,3)){% else %}try_cast(required_quantity as decimal(15,3)){% endif %} as required_quantity,
            required_quantity as source_required_quantity,
            {% if 'withdrawn_quantity' in as_text %}try_cast({{ number('withdrawn_quantity') }} as decimal(15,3)){% else %}try_cast(withdrawn_quantity as decimal(15,3)){% endif %} as withdrawn_quantity,
            withdrawn_quantity as source_withdrawn_quantity,
            quantity_unit,
            source_quantity_unit,
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
                coalesce(fixes.reservation_id, given.reservation_id) as reservation_id,
                coalesce(fixes.reservation_item_id, given.reservation_item_id) as reservation_item_id,
                coalesce(fixes.source_reservation, given.source_reservation) as source_reservation,
                coalesce(fixes.source_reservation_item, given.source_reservation_item) as source_reservation_item,
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.plant_id, given.plant_id) as plant_id,
                coalesce(fixes.storage_location_id, given.storage_location_id) as storage_location_id,
                {% if 'required_quantity' in as_text %}coalesce(fixes.required_quantity, cast(given.required_quantity as string)){% else %}coalesce(try_cast(fixes.required_quantity as decimal(15,3)), given.required_quantity){% endif %} as required_quantity,
                {% if 'withdrawn_quantity' in as_text %}coalesce(fixes.withdrawn_quantity, cast(given.withdrawn_quantity as string)){% else %}coalesce(try_cast(fixes.withdrawn_quantity as decimal(15,3)), given.withdrawn_quantity){% endif %} as withdrawn_quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                {% if 'changed_at' in as_text %}coalesce(fixes.changed_at, cast(given.changed_at as string)){% else %}coalesce(try_cast(fixes.changed_at as timestamp), given.changed_at){% endif %} as changed_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('production_order_component', ['production_order_id', 'reservation_id', 'reservation_item_id', 'source_reservation', 'source_reservation_item', 'material_id', 'plant_id', 'storage_location_id', 'required_quantity', 'withdrawn_quantity', 'quantity_unit', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['production_order'] %}
    left join (select distinct production_order_id as _known_production_order_production_order_id_0, true as _known_production_order_production_order_id from {{ parents['production_order'] }})
        on normalised.production_order_id = _known_production_order_production_order_id_0
    {%- endif %}
    {%- if parents['material'] %}
    left join (select distinct material_id as _known_material_material_id_0, true as _known_material_material_id from {{ parents['material'] }})
        on normalised.material_id = _known_material_material_id_0
    {%- endif %}
) as checked
{%- endmacro %}
