{# Made from standard/contracts/bill_of_material.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__bill_of_material(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Bill of material · 物料清单, contract 1.0.0. -#}
    {%- do conform_demands('bill_of_material', ['material'], ['base_quantity'], ['base_quantity_unit'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    bill_of_material_id,
    variant,
    material_id,
    plant_id,
    base_quantity,
    base_quantity_unit,
    source_base_quantity_unit,
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
            when (bill_of_material_id is null)
                or (material_id is null)
            {%- if parents['material'] %}
                or (material_id is not null and _known_material_material_id is null)
            {%- endif %}
                or (base_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'base_quantity' in as_text %}source_base_quantity{% else %}coalesce(cast(source_base_quantity as string), {{ unreadable('base_quantity', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'base_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_base_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_base_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_base_quantity <> base_quantity{% endif %})
                or (coalesce(base_quantity, 0) <= 0)
                or (base_quantity_unit is null)
            then filter(
                array(
                    case
                        when bill_of_material_id is null
                            then named_struct('field', 'bill_of_material_id', 'rule', 'required', 'reason', 'bill_of_material_id is missing', 'reason_zh', '物料清单编号缺失', 'raw', cast(bill_of_material_id as string), 'is_withheld', true)
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
                        when base_quantity is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'base_quantity' in as_text %}source_base_quantity{% else %}coalesce(cast(source_base_quantity as string), {{ unreadable('base_quantity', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'base_quantity', 'rule', 'type', 'reason', concat('base_quantity must be a decimal(15,3) and is ', coalesce(cast({% if 'base_quantity' in as_text %}source_base_quantity{% else %}coalesce(cast(source_base_quantity as string), {{ unreadable('base_quantity', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('基准数量的值', coalesce(cast({% if 'base_quantity' in as_text %}source_base_quantity{% else %}coalesce(cast(source_base_quantity as string), {{ unreadable('base_quantity', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'base_quantity' in as_text %}source_base_quantity{% else %}coalesce(cast(source_base_quantity as string), {{ unreadable('base_quantity', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when {% if 'base_quantity' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_base_quantity as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_base_quantity as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_base_quantity <> base_quantity{% endif %}
                            then named_struct('field', 'base_quantity', 'rule', 'decimals', 'reason', concat('base_quantity may have 3 decimals and is ', coalesce(cast(source_base_quantity as string), 'missing')), 'reason_zh', concat('基准数量最多3位小数，实际为', coalesce(cast(source_base_quantity as string), '空')), 'raw', cast(source_base_quantity as string), 'is_withheld', false)
                    end,
                    case
                        when coalesce(base_quantity, 0) <= 0
                            then named_struct('field', 'base_quantity', 'rule', 'positive', 'reason', concat('base_quantity must be above zero and is ', coalesce(cast(base_quantity as string), 'missing')), 'reason_zh', concat('基准数量必须大于零，实际为', coalesce(cast(base_quantity as string), '空')), 'raw', cast(source_base_quantity as string), 'is_withheld', true)
                    end,
                    case
                        when base_quantity_unit is null
                            then named_struct('field', 'base_quantity_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_base_quantity_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_base_quantity_unit as string), '空')), 'raw', cast(source_base_quantity_unit as string), 'is_withheld', true)
                    end
                ),
                failure -> failure is not null
            )
        end as _failures
    from (
        select
            source_system,
            source_key,
            {{ without_zeros('bill_of_material_id') }} as bill_of_material_id,
            {{ blank_to_null('variant') }} as variant,
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('plant_id') }} as plant_id,
            {% if 'base_quantity' in as_text %}try_cast({{ number('base_quantity') }} as decimal(15,3)){% else %}try_cast(base_quantity as decimal(15,3)){% endif %} as base_quantity,
            base_quantity as source_base_quantity,
            base_quantity_unit,
            source_base_quantity_unit,
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
                coalesce(fixes.bill_of_material_id, given.bill_of_material_id) as bill_of_material_id,
                coalesce(fixes.variant, given.variant) as variant,
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.plant_id, given.plant_id) as plant_id,
                {% if 'base_quantity' in as_text %}coalesce(fixes.base_quantity, cast(given.base_quantity as string)){% else %}coalesce(try_cast(fixes.base_quantity as decimal(15,3)), given.base_quantity){% endif %} as base_quantity,
                coalesce(fixes.base_quantity_unit, given.base_quantity_unit) as base_quantity_unit,
                given.{{ 'base_quantity_unit' if 'base_quantity_unit' in computed else 'source_base_quantity_unit' }} as source_base_quantity_unit,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('bill_of_material', ['bill_of_material_id', 'variant', 'material_id', 'plant_id', 'base_quantity', 'base_quantity_unit']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['material'] %}
    left join (select distinct material_id as _known_material_material_id_0, true as _known_material_material_id from {{ parents['material'] }})
        on normalised.material_id = _known_material_material_id_0
    {%- endif %}
) as checked
{%- endmacro %}
