{# Made from standard/contracts/material.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__material(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Material · 物料, contract 1.1.0. -#}
    {%- do conform_demands('material', [], ['gross_weight', 'net_weight', 'standard_price', 'is_marked_for_deletion', 'created_on', 'changed_at'], ['material_type', 'base_unit', 'weight_unit', 'currency'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    material_id,
    material_name,
    material_name_zh,
    material_type,
    material_group,
    case when not coalesce(exists(_failures, failure -> failure.field = 'gtin' and failure.rule in ('gtin')), false) or coalesce(array_contains(_overrides, 'gtin.gtin'), false) then gtin end as gtin,
    base_unit,
    gross_weight,
    net_weight,
    weight_unit,
    standard_price,
    currency,
    is_marked_for_deletion,
    created_on,
    changed_at,
    source_material_type,
    source_base_unit,
    source_weight_unit,
    source_currency,
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
                or (lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from material_name)) in ('n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空'))
                or (material_name rlike r'[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼')
                or (material_type is null)
                or (gtin is not null and not (
                    gtin rlike '^([0-9]{8}|[0-9]{12}|[0-9]{13}|[0-9]{14})$'
                    and (
                        3 * (locate(substr(lpad(gtin, 14, '0'), 1, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 2, 1), '0123456789') - 1)
                        + 3 * (locate(substr(lpad(gtin, 14, '0'), 3, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 4, 1), '0123456789') - 1)
                        + 3 * (locate(substr(lpad(gtin, 14, '0'), 5, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 6, 1), '0123456789') - 1)
                        + 3 * (locate(substr(lpad(gtin, 14, '0'), 7, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 8, 1), '0123456789') - 1)
                        + 3 * (locate(substr(lpad(gtin, 14, '0'), 9, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 10, 1), '0123456789') - 1)
                        + 3 * (locate(substr(lpad(gtin, 14, '0'), 11, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 12, 1), '0123456789') - 1)
                        + 3 * (locate(substr(lpad(gtin, 14, '0'), 13, 1), '0123456789') - 1)
                        + 1 * (locate(substr(lpad(gtin, 14, '0'), 14, 1), '0123456789') - 1)
                    ) % 10 = 0
                ))
                or (base_unit is null)
                or (gross_weight is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'gross_weight' in as_text %}source_gross_weight{% else %}coalesce(cast(source_gross_weight as string), {{ unreadable('gross_weight', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'gross_weight' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_gross_weight as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_gross_weight as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_gross_weight <> gross_weight{% endif %})
                or (gross_weight < 0)
                or (net_weight is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'net_weight' in as_text %}source_net_weight{% else %}coalesce(cast(source_net_weight as string), {{ unreadable('net_weight', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'net_weight' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_net_weight as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_net_weight as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_net_weight <> net_weight{% endif %})
                or (net_weight < 0)
                or (weight_unit is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_weight_unit as string)), '') <> '')
                or (standard_price is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'standard_price' in as_text %}source_standard_price{% else %}coalesce(cast(source_standard_price as string), {{ unreadable('standard_price', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'standard_price' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_standard_price as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_standard_price as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_standard_price <> standard_price{% endif %})
                or (standard_price < 0)
                or (currency is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_currency as string)), '') <> '')
                or (is_marked_for_deletion is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_marked_for_deletion' in as_text %}source_is_marked_for_deletion{% else %}coalesce(cast(source_is_marked_for_deletion as string), {{ unreadable('is_marked_for_deletion', sent) }}){% endif %} as string)), '') <> '')
                or (created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when material_id is null
                            then named_struct('field', 'material_id', 'rule', 'required', 'reason', 'material_id is missing', 'reason_zh', '物料编码缺失', 'raw', cast(material_id as string), 'is_withheld', true)
                    end,
                    case
                        when lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from material_name)) in ('n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空')
                            then named_struct('field', 'material_name', 'rule', 'not_placeholder', 'reason', concat('material_name is only a placeholder: ', coalesce(cast(material_name as string), 'missing')), 'reason_zh', concat('物料名称(英文)为占位值：', coalesce(cast(material_name as string), '空')), 'raw', cast(source_material_name as string), 'is_withheld', false)
                    end,
                    case
                        when material_name rlike r'[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼'
                            then named_struct('field', 'material_name', 'rule', 'readable_text', 'reason', concat('material_name was garbled by a wrong encoding: ', coalesce(cast(material_name as string), 'missing')), 'reason_zh', concat('物料名称(英文)存在乱码：', coalesce(cast(material_name as string), '空')), 'raw', cast(source_material_name as string), 'is_withheld', false)
                    end,
                    case
                        when material_type is null
                            then named_struct('field', 'material_type', 'rule', 'known_material_type', 'reason', concat('material type ', coalesce(cast(source_material_type as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集material type的对照表中没有', coalesce(cast(source_material_type as string), '空')), 'raw', cast(source_material_type as string), 'is_withheld', true)
                    end,
                    case
                        when gtin is not null and not (
                                gtin rlike '^([0-9]{8}|[0-9]{12}|[0-9]{13}|[0-9]{14})$'
                                and (
                                    3 * (locate(substr(lpad(gtin, 14, '0'), 1, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 2, 1), '0123456789') - 1)
                                    + 3 * (locate(substr(lpad(gtin, 14, '0'), 3, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 4, 1), '0123456789') - 1)
                                    + 3 * (locate(substr(lpad(gtin, 14, '0'), 5, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 6, 1), '0123456789') - 1)
                                    + 3 * (locate(substr(lpad(gtin, 14, '0'), 7, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 8, 1), '0123456789') - 1)
                                    + 3 * (locate(substr(lpad(gtin, 14, '0'), 9, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 10, 1), '0123456789') - 1)
                                    + 3 * (locate(substr(lpad(gtin, 14, '0'), 11, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 12, 1), '0123456789') - 1)
                                    + 3 * (locate(substr(lpad(gtin, 14, '0'), 13, 1), '0123456789') - 1)
                                    + 1 * (locate(substr(lpad(gtin, 14, '0'), 14, 1), '0123456789') - 1)
                                ) % 10 = 0
                            )
                            then named_struct('field', 'gtin', 'rule', 'gtin', 'reason', concat('gtin is not a GTIN: ', coalesce(cast(source_gtin as string), 'missing')), 'reason_zh', concat('商品条码(GTIN)不是有效的商品条码：', coalesce(cast(source_gtin as string), '空')), 'raw', cast(source_gtin as string), 'is_withheld', false)
                    end,
                    case
                        when base_unit is null
                            then named_struct('field', 'base_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_base_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_base_unit as string), '空')), 'raw', cast(source_base_unit as string), 'is_withheld', true)
                    end,
                    case
                        when gross_weight is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'gross_weight' in as_text %}source_gross_weight{% else %}coalesce(cast(source_gross_weight as string), {{ unreadable('gross_weight', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'gross_weight', 'rule', 'type', 'reason', concat('gross_weight must be a decimal(15,3) and is ', coalesce(cast({% if 'gross_weight' in as_text %}source_gross_weight{% else %}coalesce(cast(source_gross_weight as string), {{ unreadable('gross_weight', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('毛重的值', coalesce(cast({% if 'gross_weight' in as_text %}source_gross_weight{% else %}coalesce(cast(source_gross_weight as string), {{ unreadable('gross_weight', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'gross_weight' in as_text %}source_gross_weight{% else %}coalesce(cast(source_gross_weight as string), {{ unreadable('gross_weight', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'gross_weight' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_gross_weight as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_gross_weight as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_gross_weight <> gross_weight{% endif %}
                            then named_struct('field', 'gross_weight', 'rule', 'decimals', 'reason', concat('gross_weight may have 3 decimals and is ', coalesce(cast(source_gross_weight as string), 'missing')), 'reason_zh', concat('毛重最多3位小数，实际为', coalesce(cast(source_gross_weight as string), '空')), 'raw', cast(source_gross_weight as string), 'is_withheld', false)
                    end,
                    case
                        when gross_weight < 0
                            then named_struct('field', 'gross_weight', 'rule', 'not_negative', 'reason', concat('gross_weight must not be below zero and is ', coalesce(cast(gross_weight as string), 'missing')), 'reason_zh', concat('毛重不得小于零，实际为', coalesce(cast(gross_weight as string), '空')), 'raw', cast(source_gross_weight as string), 'is_withheld', true)
                    end,
                    case
                        when net_weight is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'net_weight' in as_text %}source_net_weight{% else %}coalesce(cast(source_net_weight as string), {{ unreadable('net_weight', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'net_weight', 'rule', 'type', 'reason', concat('net_weight must be a decimal(15,3) and is ', coalesce(cast({% if 'net_weight' in as_text %}source_net_weight{% else %}coalesce(cast(source_net_weight as string), {{ unreadable('net_weight', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('净重的值', coalesce(cast({% if 'net_weight' in as_text %}source_net_weight{% else %}coalesce(cast(source_net_weight as string), {{ unreadable('net_weight', sent) }}){% endif %} as string), '空'), '不是有效的decimal(15,3)'), 'raw', cast({% if 'net_weight' in as_text %}source_net_weight{% else %}coalesce(cast(source_net_weight as string), {{ unreadable('net_weight', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'net_weight' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_net_weight as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_net_weight as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_net_weight <> net_weight{% endif %}
                            then named_struct('field', 'net_weight', 'rule', 'decimals', 'reason', concat('net_weight may have 3 decimals and is ', coalesce(cast(source_net_weight as string), 'missing')), 'reason_zh', concat('净重最多3位小数，实际为', coalesce(cast(source_net_weight as string), '空')), 'raw', cast(source_net_weight as string), 'is_withheld', false)
                    end,
                    case
                        when net_weight < 0
                            then named_struct('field', 'net_weight', 'rule', 'not_negative', 'reason', concat('net_weight must not be below zero and is ', coalesce(cast(net_weight as string), 'missing')), 'reason_zh', concat('净重不得小于零，实际为', coalesce(cast(net_weight as string), '空')), 'raw', cast(source_net_weight as string), 'is_withheld', true)
                    end,
                    case
                        when weight_unit is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_weight_unit as string)), '') <> ''
                            then named_struct('field', 'weight_unit', 'rule', 'known_unit', 'reason', concat('unit ', coalesce(cast(source_weight_unit as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集unit的对照表中没有', coalesce(cast(source_weight_unit as string), '空')), 'raw', cast(source_weight_unit as string), 'is_withheld', false)
                    end,
                    case
                        when standard_price is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'standard_price' in as_text %}source_standard_price{% else %}coalesce(cast(source_standard_price as string), {{ unreadable('standard_price', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'standard_price', 'rule', 'type', 'reason', concat('standard_price must be a decimal(18,6) and is ', coalesce(cast({% if 'standard_price' in as_text %}source_standard_price{% else %}coalesce(cast(source_standard_price as string), {{ unreadable('standard_price', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('标准价的值', coalesce(cast({% if 'standard_price' in as_text %}source_standard_price{% else %}coalesce(cast(source_standard_price as string), {{ unreadable('standard_price', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,6)'), 'raw', cast({% if 'standard_price' in as_text %}source_standard_price{% else %}coalesce(cast(source_standard_price as string), {{ unreadable('standard_price', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'standard_price' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_standard_price as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_standard_price as string)) rlike r'\.[0-9]{6}[0-9]*[1-9]'{% else %}source_standard_price <> standard_price{% endif %}
                            then named_struct('field', 'standard_price', 'rule', 'decimals', 'reason', concat('standard_price may have 6 decimals and is ', coalesce(cast(source_standard_price as string), 'missing')), 'reason_zh', concat('标准价最多6位小数，实际为', coalesce(cast(source_standard_price as string), '空')), 'raw', cast(source_standard_price as string), 'is_withheld', false)
                    end,
                    case
                        when standard_price < 0
                            then named_struct('field', 'standard_price', 'rule', 'not_negative', 'reason', concat('standard_price must not be below zero and is ', coalesce(cast(standard_price as string), 'missing')), 'reason_zh', concat('标准价不得小于零，实际为', coalesce(cast(standard_price as string), '空')), 'raw', cast(source_standard_price as string), 'is_withheld', true)
                    end,
                    case
                        when currency is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_currency as string)), '') <> ''
                            then named_struct('field', 'currency', 'rule', 'known_currency', 'reason', concat('currency ', coalesce(cast(source_currency as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集currency的对照表中没有', coalesce(cast(source_currency as string), '空')), 'raw', cast(source_currency as string), 'is_withheld', false)
                    end,
                    case
                        when is_marked_for_deletion is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_marked_for_deletion' in as_text %}source_is_marked_for_deletion{% else %}coalesce(cast(source_is_marked_for_deletion as string), {{ unreadable('is_marked_for_deletion', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'is_marked_for_deletion', 'rule', 'type', 'reason', concat('is_marked_for_deletion must be a boolean and is ', coalesce(cast({% if 'is_marked_for_deletion' in as_text %}source_is_marked_for_deletion{% else %}coalesce(cast(source_is_marked_for_deletion as string), {{ unreadable('is_marked_for_deletion', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('删除标记的值', coalesce(cast({% if 'is_marked_for_deletion' in as_text %}source_is_marked_for_deletion{% else %}coalesce(cast(source_is_marked_for_deletion as string), {{ unreadable('is_marked_for_deletion', sent) }}){% endif %} as string), '空'), '不是有效的boolean'), 'raw', cast({% if 'is_marked_for_deletion' in as_text %}source_is_marked_for_deletion{% else %}coalesce(cast(source_is_marked_for_deletion as string), {{ unreadable('is_marked_for_deletion', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'created_on', 'rule', 'type', 'reason', concat('created_on must be a date and is ', coalesce(cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('创建日期的值', coalesce(cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), 'is_withheld', false)
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
            {{ material_number('material_id') }} as material_id,
            {{ blank_to_null('material_name') }} as material_name,
            material_name as source_material_name,
            {{ blank_to_null('material_name_zh') }} as material_name_zh,
            material_type,
            source_material_type,
            {{ blank_to_null('material_group') }} as material_group,
            {{ digits_only('gtin') }} as gtin,
            gtin as source_gtin,
            base_unit,
            source_base_unit,
            {% if 'gross_weight' in as_text %}try_cast({{ number('gross_weight') }} as decimal(15,3)){% else %}try_cast(gross_weight as decimal(15,3)){% endif %} as gross_weight,
            gross_weight as source_gross_weight,
            {% if 'net_weight' in as_text %}try_cast({{ number('net_weight') }} as decimal(15,3)){% else %}try_cast(net_weight as decimal(15,3)){% endif %} as net_weight,
            net_weight as source_net_weight,
            weight_unit,
            source_weight_unit,
            {% if 'standard_price' in as_text %}try_cast({{ number('standard_price') }} as decimal(18,6)){% else %}try_cast(standard_price as decimal(18,6)){% endif %} as standard_price,
            standard_price as source_standard_price,
            currency,
            source_currency,
            {% if 'is_marked_for_deletion' in as_text %}{{ boolean('is_marked_for_deletion') }}{% else %}try_cast(is_marked_for_deletion as boolean){% endif %} as is_marked_for_deletion,
            is_marked_for_deletion as source_is_marked_for_deletion,
            {% if 'created_on' in as_text %}{{ date('created_on') }}{% else %}try_cast(created_on as date){% endif %} as created_on,
            created_on as source_created_on,
            {% if 'changed_at' in as_text %}{{ timestamp('changed_at') }}{% else %}try_cast(changed_at as timestamp){% endif %} as changed_at,
            changed_at as source_changed_at,
            _datong_batch_id,
            _datong_ingested_at,
            source_row,
            _overrides
            {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
            {{ column }}
            {%- endfor %}
        from (
            select
                given.source_system,
                given.source_key,
                coalesce(fixes.material_id, given.material_id) as material_id,
                coalesce(fixes.material_name, given.material_name) as material_name,
                coalesce(fixes.material_name_zh, given.material_name_zh) as material_name_zh,
                coalesce(fixes.material_type, given.material_type) as material_type,
                given.{{ 'material_type' if 'material_type' in computed else 'source_material_type' }} as source_material_type,
                coalesce(fixes.material_group, given.material_group) as material_group,
                coalesce(fixes.gtin, given.gtin) as gtin,
                coalesce(fixes.base_unit, given.base_unit) as base_unit,
                given.{{ 'base_unit' if 'base_unit' in computed else 'source_base_unit' }} as source_base_unit,
                {% if 'gross_weight' in as_text %}coalesce(fixes.gross_weight, cast(given.gross_weight as string)){% else %}coalesce(try_cast(fixes.gross_weight as decimal(15,3)), given.gross_weight){% endif %} as gross_weight,
                {% if 'net_weight' in as_text %}coalesce(fixes.net_weight, cast(given.net_weight as string)){% else %}coalesce(try_cast(fixes.net_weight as decimal(15,3)), given.net_weight){% endif %} as net_weight,
                coalesce(fixes.weight_unit, given.weight_unit) as weight_unit,
                given.{{ 'weight_unit' if 'weight_unit' in computed else 'source_weight_unit' }} as source_weight_unit,
                {% if 'standard_price' in as_text %}coalesce(fixes.standard_price, cast(given.standard_price as string)){% else %}coalesce(try_cast(fixes.standard_price as decimal(18,6)), given.standard_price){% endif %} as standard_price,
                coalesce(fixes.currency, given.currency) as currency,
                given.{{ 'currency' if 'currency' in computed else 'source_currency' }} as source_currency,
                {% if 'is_marked_for_deletion' in as_text %}coalesce(fixes.is_marked_for_deletion, cast(given.is_marked_for_deletion as string)){% else %}coalesce(try_cast(fixes.is_marked_for_deletion as boolean), given.is_marked_for_deletion){% endif %} as is_marked_for_deletion,
                {% if 'created_on' in as_text %}coalesce(fixes.created_on, cast(given.created_on as string)){% else %}coalesce(try_cast(fixes.created_on as date), given.created_on){% endif %} as created_on,
                {% if 'changed_at' in as_text %}coalesce(fixes.changed_at, cast(given.changed_at as string)){% else %}coalesce(try_cast(fixes.changed_at as timestamp), given.changed_at){% endif %} as changed_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row,
                overrides._overrides
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('material', ['material_id', 'material_name', 'material_name_zh', 'material_type', 'material_group', 'gtin', 'base_unit', 'gross_weight', 'net_weight', 'weight_unit', 'standard_price', 'currency', 'is_marked_for_deletion', 'created_on', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
            left join {{ overrides_of('material') }} as overrides
                on given.source_system = overrides.source_system and given.source_key = overrides.source_key
        ) as mended
    ) as normalised
) as checked
{%- endmacro %}
