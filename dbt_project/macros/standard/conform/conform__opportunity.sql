{# Made from standard/contracts/opportunity.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__opportunity(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Opportunity · 商机, contract 1.0.0. -#}
    {%- do conform_demands('opportunity', [], ['amount', 'probability', 'expected_close_on', 'changed_at'], ['currency'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    opportunity_id,
    customer_id,
    title,
    stage,
    amount,
    currency,
    probability,
    expected_close_on,
    changed_at,
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
            when (opportunity_id is null)
                or (customer_id is null)
                or (amount is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'amount' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_amount as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_amount as string)) rlike r'\.[0-9]{2}[0-9]*[1-9]'{% else %}source_amount <> amount{% endif %})
                or (amount < 0)
                or (currency is null)
                or (probability is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'probability' in as_text %}source_probability{% else %}coalesce(cast(source_probability as string), {{ unreadable('probability', sent) }}){% endif %} as string)), '') <> '')
                or (probability not between 0 and 100)
                or (expected_close_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'expected_close_on' in as_text %}source_expected_close_on{% else %}coalesce(cast(source_expected_close_on as string), {{ unreadable('expected_close_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when opportunity_id is null
                            then named_struct('field', 'opportunity_id', 'rule', 'required', 'reason', 'opportunity_id is missing', 'reason_zh', '商机编号缺失', 'raw', cast(opportunity_id as string), 'is_withheld', true)
                    end,
                    case
                        when customer_id is null
                            then named_struct('field', 'customer_id', 'rule', 'required', 'reason', 'customer_id is missing', 'reason_zh', '客户编码缺失', 'raw', cast(customer_id as string), 'is_withheld', true)
                    end,
                    case
                        when amount is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'amount', 'rule', 'type', 'reason', concat('amount must be a decimal(18,2) and is ', coalesce(cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('净额的值', coalesce(cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string), '空'), '不是有效的decimal(18,2)'), 'raw', cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when {% if 'amount' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_amount as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_amount as string)) rlike r'\.[0-9]{2}[0-9]*[1-9]'{% else %}source_amount <> amount{% endif %}
                            then named_struct('field', 'amount', 'rule', 'decimals', 'reason', concat('amount may have 2 decimals and is ', coalesce(cast(source_amount as string), 'missing')), 'reason_zh', concat('净额最多2位小数，实际为', coalesce(cast(source_amount as string), '空')), 'raw', cast(source_amount as string), 'is_withheld', false)
                    end,
                    case
                        when amount < 0
                            then named_struct('field', 'amount', 'rule', 'not_negative', 'reason', concat('amount must not be below zero and is ', coalesce(cast(amount as string), 'missing')), 'reason_zh', concat('净额不得小于零，实际为', coalesce(cast(amount as string), '空')), 'raw', cast(source_amount as string), 'is_withheld', true)
                    end,
                    case
                        when currency is null
                            then named_struct('field', 'currency', 'rule', 'known_currency', 'reason', concat('currency ', coalesce(cast(source_currency as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集currency的对照表中没有', coalesce(cast(source_currency as string), '空')), 'raw', cast(source_currency as string), 'is_withheld', true)
                    end,
                    case
                        when probability is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'probability' in as_text %}source_probability{% else %}coalesce(cast(source_probability as string), {{ unreadable('probability', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'probability', 'rule', 'type', 'reason', concat('probability must be a int and is ', coalesce(cast({% if 'probability' in as_text %}source_probability{% else %}coalesce(cast(source_probability as string), {{ unreadable('probability', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('成功概率(%)的值', coalesce(cast({% if 'probability' in as_text %}source_probability{% else %}coalesce(cast(source_probability as string), {{ unreadable('probability', sent) }}){% endif %} as string), '空'), '不是有效的int'), 'raw', cast({% if 'probability' in as_text %}source_probability{% else %}coalesce(cast(source_probability as string), {{ unreadable('probability', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when probability not between 0 and 100
                            then named_struct('field', 'probability', 'rule', 'range', 'reason', concat('probability must be from 0 to 100 and is ', coalesce(cast(probability as string), 'missing')), 'reason_zh', concat('成功概率(%)必须在0到100之间，实际为', coalesce(cast(probability as string), '空')), 'raw', cast(source_probability as string), 'is_withheld', true)
                    end,
                    case
                        when expected_close_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'expected_close_on' in as_text %}source_expected_close_on{% else %}coalesce(cast(source_expected_close_on as string), {{ unreadable('expected_close_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'expected_close_on', 'rule', 'type', 'reason', concat('expected_close_on must be a date and is ', coalesce(cast({% if 'expected_close_on' in as_text %}source_expected_close_on{% else %}coalesce(cast(source_expected_close_on as string), {{ unreadable('expected_close_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('预计成交日期的值', coalesce(cast({% if 'expected_close_on' in as_text %}source_expected_close_on{% else %}coalesce(cast(source_expected_close_on as string), {{ unreadable('expected_close_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'expected_close_on' in as_text %}source_expected_close_on{% else %}coalesce(cast(source_expected_close_on as string), {{ unreadable('expected_close_on', sent) }}){% endif %} as string), 'is_withheld', false)
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
            {{ blank_to_null('opportunity_id') }} as opportunity_id,
            {{ without_zeros('customer_id') }} as customer_id,
            {{ blank_to_null('title') }} as title,
            {{ blank_to_null('stage') }} as stage,
            {% if 'amount' in as_text %}try_cast({{ number('amount') }} as decimal(18,2)){% else %}try_cast(amount as decimal(18,2)){% endif %} as amount,
            amount as source_amount,
            currency,
            source_currency,
            {% if 'probability' in as_text %}try_cast(regexp_extract(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(probability as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), r'^(-?[0-9]+)(\.0*)?$', 1) as int){% else %}try_cast(probability as int){% endif %} as probability,
            probability as source_probability,
            {% if 'expected_close_on' in as_text %}{{ date('expected_close_on') }}{% else %}try_cast(expected_close_on as date){% endif %} as expected_close_on,
            expected_close_on as source_expected_close_on,
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
                coalesce(fixes.opportunity_id, given.opportunity_id) as opportunity_id,
                coalesce(fixes.customer_id, given.customer_id) as customer_id,
                coalesce(fixes.title, given.title) as title,
                coalesce(fixes.stage, given.stage) as stage,
                {% if 'amount' in as_text %}coalesce(fixes.amount, cast(given.amount as string)){% else %}coalesce(try_cast(fixes.amount as decimal(18,2)), given.amount){% endif %} as amount,
                coalesce(fixes.currency, given.currency) as currency,
                given.{{ 'currency' if 'currency' in computed else 'source_currency' }} as source_currency,
                {% if 'probability' in as_text %}coalesce(fixes.probability, cast(given.probability as string)){% else %}coalesce(try_cast(fixes.probability as int), given.probability){% endif %} as probability,
                {% if 'expected_close_on' in as_text %}coalesce(fixes.expected_close_on, cast(given.expected_close_on as string)){% else %}coalesce(try_cast(fixes.expected_close_on as date), given.expected_close_on){% endif %} as expected_close_on,
                {% if 'changed_at' in as_text %}coalesce(fixes.changed_at, cast(given.changed_at as string)){% else %}coalesce(try_cast(fixes.changed_at as timestamp), given.changed_at){% endif %} as changed_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('opportunity', ['opportunity_id', 'customer_id', 'title', 'stage', 'amount', 'currency', 'probability', 'expected_close_on', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
) as checked
{%- endmacro %}
