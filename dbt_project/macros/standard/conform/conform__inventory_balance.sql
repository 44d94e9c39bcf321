{# Made from standard/contracts/inventory_balance.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__inventory_balance(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Inventory balance · 库存, contract 1.0.0. -#}
    {%- do conform_demands('inventory_balance', ['material'], ['quantity'], ['stock_type', 'quantity_unit'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    material_id,
    plant_id,
    storage_location_id,
    batch_id,
    stock_type,
    special_stock_type,
    quantity,
    quantity_unit,
    source_stock_type,
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
            when (material_id is null)
            {%- if parents['material'] %}
                or (material_id is not null and _known_material_material_id is null)
            {%- endif %}
                or (plant_id is null)
                or (stock_type is null)
                or (quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %})
                or (quantity_unit is null)
            then filter(
                array(
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
                        when plant_id is null
                            then named_struct('field', 'plant_id', 'rule', 'required', 'reason', 'plant_id is missing', 'reason_zh', '工厂缺失', 'raw', cast(plant_id as string), 'is_withheld', true)
                    end,
                    case
                        when stock_type is null
                            then named_struct('field', 'stock_type', 'rule', 'known_stock_type', 'reason', concat('stock type ', coalesce(cast(source_stock_type as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集stock type的对照表中没有', coalesce(cast(source_stock_type as string), '空')), 'raw', cast(source_stock_type as string), 'is_withheld', true)
                    end,
                    case
                        when quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'quantity', 'rule', 'type', 'reason', concat('quantity must be a decimal(18,3) and is ', coalesce(cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('数量的值', coalesce(cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,3)'), 'raw', cast({% if 'quantity' in as_text %}source_quantity{% else %}coalesce(cast(source_quantity as string), {{ unreadable('quantity', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_quantity <> quantity{% endif %}
                            then named_struct('field', 'quantity', 'rule', 'decimals', 'reason', concat('quantity may have 3 decimals and is ', coalesce(cast(source_quantity as string), 'missing')), 'reason_zh', concat('数量最多3位小数，实际为', coalesce(cast(source_quantity as string), '空')), 'raw', cast(source_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when quantity_unit is null
                            then named_struct('field', 'quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_quantity_unit as string), '空')), 'raw', cast(source_quantity_unit as string), 'is_withheld', true)
                    end
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('plant_id') }} as plant_id,
            {{ blank_to_null('storage_location_id') }} as storage_location_id,
            {{ blank_to_null('batch_id') }} as batch_id,
            stock_type,
            source_stock_type,
            {{ blank_to_null('special_stock_type') }} as special_stock_type,
            {% if 'quantity' in as_text %}try_cast({{ number('quantity') }} as decimal(18,3)){% else %}try_cast(quantity as decimal(18,3)){% endif %} as quantity,
            quantity as source_quantity,
            quantity_unit,
            source_quantity_unit,
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
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.plant_id, given.plant_id) as plant_id,
                coalesce(fixes.storage_location_id, given.storage_location_id) as storage_location_id,
                coalesce(fixes.batch_id, given.batch_id) as batch_id,
                coalesce(fixes.stock_type, given.stock_type) as stock_type,
                given.{{ 'stock_type' if 'stock_type' in computed else 'source_stock_type' }} as source_stock_type,
                coalesce(fixes.special_stock_type, given.special_stock_type) as special_stock_type,
                {% if 'quantity' in as_text %}coalesce(fixes.quantity, cast(given.quantity as string)){% else %}coalesce(try_cast(fixes.quantity as decimal(18,3)), given.quantity){% endif %} as quantity,
                coalesce(fixes.quantity_unit, given.quantity_unit) as quantity_unit,
                given.{{ 'quantity_unit' if 'quantity_unit' in computed else 'source_quantity_unit' }} as source_quantity_unit,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('inventory_balance', ['material_id', 'plant_id', 'storage_location_id', 'batch_id', 'stock_type', 'special_stock_type', 'quantity', 'quantity_unit']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['material'] %}
    left join (select distinct material_id as _known_material_material_id_0, true as _known_material_material_id from {{ parents['material'] }})
        on normalised.material_id = _known_material_material_id_0
    {%- endif %}
) as checked
{%- endmacro %}
