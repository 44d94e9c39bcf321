{# Made from standard/contracts/sales_order.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__sales_order(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Sales order · 销售订单, contract 1.0.0. -#}
    {%- do conform_demands('sales_order', ['customer'], ['ordered_on', 'requested_delivery_on', 'amount', 'is_delivery_blocked', 'created_on', 'changed_at'], ['currency', 'status', 'delivery_status'], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    sales_order_id,
    sales_order_type,
    sales_organization_id,
    distribution_channel,
    customer_id,
    customer_order_number,
    ordered_on,
    requested_delivery_on,
    amount,
    currency,
    status,
    delivery_status,
    is_delivery_blocked,
    production_status,
    created_on,
    created_by,
    changed_at,
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
                or (customer_id is null)
            {%- if parents['customer'] %}
                or (customer_id is not null and _known_customer_customer_id is null)
            {%- endif %}
                or (ordered_on is null)
                or (ordered_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'ordered_on' in as_text %}source_ordered_on{% else %}coalesce(cast(source_ordered_on as string), {{ unreadable('ordered_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (ordered_on not between date'1990-01-01' and date'2099-12-31')
                or (requested_delivery_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'requested_delivery_on' in as_text %}source_requested_delivery_on{% else %}coalesce(cast(source_requested_delivery_on as string), {{ unreadable('requested_delivery_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (requested_delivery_on < ordered_on)
                or (amount is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'amount' in as_text %}source_amount{% else %}coalesce(cast(source_amount as string), {{ unreadable('amount', sent) }}){% endif %} as string)), '') <> '')
                or ({% if 'amount' in as_text %}coalesce(nullif(replace(regexp_extract(regexp_replace(regexp_replace(regexp_replace(translate(translate(cast(source_amount as string), '！＂＃＄％＆（）＊＋，－．／０１２３４５６７８９：；＜＝＞？＠ＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ［］＾＿｀ａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ｛｜｝～　＇＼', concat('!"#$%&()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~ ', char(39), char(92))), '−–', '--'), r'[\s\p{Z}¥$€£￥]+', ''), r'^\((.+)\)$', '-$1'), '^([^-]+)-$', '-$1'), r'^[+]?(-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))$', 1), ',', ''), ''), cast(source_amount as string)) rlike r'\.[0-9]{3}[0-9]*[1-9]'{% else %}source_amount <> amount{% endif %})
                or (currency is null)
                or ((currency = 'BGN' and cast(ordered_on as date) > date'2025-12-31') or (currency = 'HRK' and cast(ordered_on as date) > date'2022-12-31'))
                or (status is null)
                or (delivery_status is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_delivery_status as string)), '') <> '')
                or (is_delivery_blocked is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_delivery_blocked' in as_text %}source_is_delivery_blocked{% else %}coalesce(cast(source_is_delivery_blocked as string), {{ unreadable('is_delivery_blocked', sent) }}){% endif %} as string)), '') <> '')
                or (created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when sales_order_id is null
                            then named_struct('field', 'sales_order_id', 'rule', 'required', 'reason', 'sales_order_id is missing', 'reason_zh', '销售订单号缺失', 'raw', cast(sales_order_id as string), 'is_withheld', true)
                    end,
                    case
                        when customer_id is null
                            then named_struct('field', 'customer_id', 'rule', 'required', 'reason', 'customer_id is missing', 'reason_zh', '客户编码缺失', 'raw', cast(customer_id as string), 'is_withheld', true)
                    end
        {%- if parents['customer'] %},
                    case
                        when customer_id is not null and _known_customer_customer_id is null
                            then named_struct('field', 'customer_id', 'rule', 'refers_to_customer', 'reason', concat('customer ', coalesce(cast(customer_id as string), 'missing'), ' is not known'), 'reason_zh', concat('客户', coalesce(cast(customer_id as string), '空'), '不存在'), 'raw', cast(customer_id as string), 'is_withheld', true)
                    end
        {%- endif %},
                    case
                        when ordered_on is null
                            then named_struct('field', 'ordered_on', 'rule', 'required', 'reason', 'ordered_on is missing', 'reason_zh', '下单日期缺失', 'raw', cast(source_ordered_on as string), 'is_withheld', true)
                    end,
                    case
                        when ordered_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'ordered_on' in as_text %}source_ordered_on{% else %}coalesce(cast(source_ordered_on as string), {{ unreadable('ordered_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'ordered_on', 'rule', 'type', 'reason', concat('ordered_on must be a date and is ', coalesce(cast({% if 'ordered_on' in as_text %}source_ordered_on{% else %}coalesce(cast(source_ordered_on as string), {{ unreadable('ordered_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('下单日期的值', coalesce(cast({% if 'ordered_on' in as_text %}source_ordered_on{% else %}coalesce(cast(source_ordered_on as string), {{ unreadable('ordered_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'ordered_on' in as_text %}source_ordered_on{% else %}coalesce(cast(source_ordered_on as string), {{ unreadable('ordered_on', sent) }}){% endif %} as string), 'is_withheld', true)
                    end,
                    case
                        when ordered_on not between date'1990-01-01' and date'2099-12-31'
                            then named_struct('field', 'ordered_on', 'rule', 'plausible_date', 'reason', concat('ordered_on must be from 1990-01-01 to 2099-12-31 and is ', coalesce(cast(ordered_on as string), 'missing')), 'reason_zh', concat('下单日期必须在1990-01-01到2099-12-31之间，实际为', coalesce(cast(ordered_on as string), '空')), 'raw', cast(source_ordered_on as string), 'is_withheld', true)
                    end,
                    case
                        when requested_delivery_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'requested_delivery_on' in as_text %}source_requested_delivery_on{% else %}coalesce(cast(source_requested_delivery_on as string), {{ unreadable('requested_delivery_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'requested_delivery_on', 'rule', 'type', 'reason', concat('requested_delivery_on must be a date and is ', coalesce(cast({% if 'requested_delivery_on' in as_text %}source_requested_delivery_on{% else %}coalesce(cast(source_requested_delivery_on as string), {{ unreadable('requested_delivery_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('要求交货日期的值', coalesce(cast({% if 'requested_delivery_on' in as_text %}source_requested_delivery_on{% else %}coalesce(cast(source_requested_delivery_on as string), {{ unreadable('requested_delivery_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'requested_delivery_on' in as_text %}source_requested_delivery_on{% else %}coalesce(cast(source_requested_delivery_on as string), {{ unreadable('requested_delivery_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when requested_delivery_on < ordered_on
                            then named_struct('field', 'requested_delivery_on', 'rule', 'compare', 'reason', concat('requested_delivery_on must be >= the day of the order (', coalesce(cast(ordered_on as string), 'missing'), ') and is ', coalesce(cast(requested_delivery_on as string), 'missing')), 'reason_zh', concat('要求交货日期必须>=订单日期（', coalesce(cast(ordered_on as string), '空'), '），实际为', coalesce(cast(requested_delivery_on as string), '空')), 'raw', cast(source_requested_delivery_on as string), 'is_withheld', false)
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
                        when (currency = 'BGN' and cast(ordered_on as date) > date'2025-12-31') or (currency = 'HRK' and cast(ordered_on as date) > date'2022-12-31')
                            then named_struct('field', 'currency', 'rule', 'code_in_force', 'reason', concat('currency ', coalesce(cast(currency as string), 'missing'), ' is not in force on ', coalesce(cast(ordered_on as string), 'missing')), 'reason_zh', concat('代码集currency的', coalesce(cast(currency as string), '空'), '在', coalesce(cast(ordered_on as string), '空'), '不在有效期内'), 'raw', cast(source_currency as string), 'is_withheld', false)
                    end,
                    case
                        when status is null
                            then named_struct('field', 'status', 'rule', 'known_document_status', 'reason', concat('document status ', coalesce(cast(source_status as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集document status的对照表中没有', coalesce(cast(source_status as string), '空')), 'raw', cast(source_status as string), 'is_withheld', true)
                    end,
                    case
                        when delivery_status is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_delivery_status as string)), '') <> ''
                            then named_struct('field', 'delivery_status', 'rule', 'known_document_status', 'reason', concat('document status ', coalesce(cast(source_delivery_status as string), 'missing'), ' is not in the crosswalk'), 'reason_zh', concat('代码集document status的对照表中没有', coalesce(cast(source_delivery_status as string), '空')), 'raw', cast(source_delivery_status as string), 'is_withheld', false)
                    end,
                    case
                        when is_delivery_blocked is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_delivery_blocked' in as_text %}source_is_delivery_blocked{% else %}coalesce(cast(source_is_delivery_blocked as string), {{ unreadable('is_delivery_blocked', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'is_delivery_blocked', 'rule', 'type', 'reason', concat('is_delivery_blocked must be a boolean and is ', coalesce(cast({% if 'is_delivery_blocked' in as_text %}source_is_delivery_blocked{% else %}coalesce(cast(source_is_delivery_blocked as string), {{ unreadable('is_delivery_blocked', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('是否冻结交货的值', coalesce(cast({% if 'is_delivery_blocked' in as_text %}source_is_delivery_blocked{% else %}coalesce(cast(source_is_delivery_blocked as string), {{ unreadable('is_delivery_blocked', sent) }}){% endif %} as string), '空'), '不是有效的boolean'), 'raw', cast({% if 'is_delivery_blocked' in as_text %}source_is_delivery_blocked{% else %}coalesce(cast(source_is_delivery_blocked as string), {{ unreadable('is_delivery_blocked', sent) }}){% endif %} as string), 'is_withheld', false)
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
            {{ without_zeros('sales_order_id') }} as sales_order_id,
            {{ blank_to_null('sales_order_type') }} as sales_order_type,
            {{ blank_to_null('sales_organization_id') }} as sales_organization_id,
            {{ blank_to_null('distribution_channel') }} as distribution_channel,
            {{ without_zeros('customer_id') }} as customer_id,
            {{ blank_to_null('customer_order_number') }} as customer_order_number,
            {% if 'ordered_on' in as_text %}{{ date('ordered_on') }}{% else %}try_cast(ordered_on as date){% endif %} as ordered_on,
            ordered_on as source_ordered_on,
            {% if 'requested_delivery_on' in as_text %}{{ date('requested_delivery_on') }}{% else %}try_cast(requested_delivery_on as date){% endif %} as requested_delivery_on,
            requested_delivery_on as source_requested_delivery_on,
            {% if 'amount' in as_text %}try_cast({{ number('amount') }} as decimal(18,3)){% else %}try_cast(amount as decimal(18,3)){% endif %} as amount,
            amount as source_amount,
            currency,
            source_currency,
            status,
            source_status,
            delivery_status,
            source_delivery_status,
            {% if 'is_delivery_blocked' in as_text %}{{ boolean('is_delivery_blocked') }}{% else %}try_cast(is_delivery_blocked as boolean){% endif %} as is_delivery_blocked,
            is_delivery_blocked as source_is_delivery_blocked,
            {{ blank_to_null('production_status') }} as production_status,
            {% if 'created_on' in as_text %}{{ date('created_on') }}{% else %}try_cast(created_on as date){% endif %} as created_on,
            created_on as source_created_on,
            {{ blank_to_null('created_by') }} as created_by,
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
                coalesce(fixes.sales_order_id, given.sales_order_id) as sales_order_id,
                coalesce(fixes.sales_order_type, given.sales_order_type) as sales_order_type,
                coalesce(fixes.sales_organization_id, given.sales_organization_id) as sales_organization_id,
                coalesce(fixes.distribution_channel, given.distribution_channel) as distribution_channel,
                coalesce(fixes.customer_id, given.customer_id) as customer_id,
                coalesce(fixes.customer_order_number, given.customer_order_number) as customer_order_number,
                {% if 'ordered_on' in as_text %}coalesce(fixes.ordered_on, cast(given.ordered_on as string)){% else %}coalesce(try_cast(fixes.ordered_on as date), given.ordered_on){% endif %} as ordered_on,
                {% if 'requested_delivery_on' in as_text %}coalesce(fixes.requested_delivery_on, cast(given.requested_delivery_on as string)){% else %}coalesce(try_cast(fixes.requested_delivery_on as date), given.requested_delivery_on){% endif %} as requested_delivery_on,
                {% if 'amount' in as_text %}coalesce(fixes.amount, cast(given.amount as string)){% else %}coalesce(try_cast(fixes.amount as decimal(18,3)), given.amount){% endif %} as amount,
                coalesce(fixes.currency, given.currency) as currency,
                given.{{ 'currency' if 'currency' in computed else 'source_currency' }} as source_currency,
                coalesce(fixes.status, given.status) as status,
                given.{{ 'status' if 'status' in computed else 'source_status' }} as source_status,
                coalesce(fixes.delivery_status, given.delivery_status) as delivery_status,
                given.{{ 'delivery_status' if 'delivery_status' in computed else 'source_delivery_status' }} as source_delivery_status,
                {% if 'is_delivery_blocked' in as_text %}coalesce(fixes.is_delivery_blocked, cast(given.is_delivery_blocked as string)){% else %}coalesce(try_cast(fixes.is_delivery_blocked as boolean), given.is_delivery_blocked){% endif %} as is_delivery_blocked,
                coalesce(fixes.production_status, given.production_status) as production_status,
                {% if 'created_on' in as_text %}coalesce(fixes.created_on, cast(given.created_on as string)){% else %}coalesce(try_cast(fixes.created_on as date), given.created_on){% endif %} as created_on,
                coalesce(fixes.created_by, given.created_by) as created_by,
                {% if 'changed_at' in as_text %}coalesce(fixes.changed_at, cast(given.changed_at as string)){% else %}coalesce(try_cast(fixes.changed_at as timestamp), given.changed_at){% endif %} as changed_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('sales_order', ['sales_order_id', 'sales_order_type', 'sales_organization_id', 'distribution_channel', 'customer_id', 'customer_order_number', 'ordered_on', 'requested_delivery_on', 'amount', 'currency', 'status', 'delivery_status', 'is_delivery_blocked', 'production_status', 'created_on', 'created_by', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
    {%- if parents['customer'] %}
    left join (select distinct customer_id as _known_customer_customer_id_0, true as _known_customer_customer_id from {{ parents['customer'] }})
        on normalised.customer_id = _known_customer_customer_id_0
    {%- endif %}
) as checked
{%- endmacro %}
