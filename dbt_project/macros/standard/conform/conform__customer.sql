{# Made from standard/contracts/customer.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__customer(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Customer · 客户, contract 1.0.0. -#}
    {%- do conform_demands('customer', [], ['is_blocked', 'created_on', 'changed_at'], [], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    customer_id,
    customer_name,
    name_key,
    customer_group,
    case when not coalesce(exists(_failures, failure -> failure.field = 'credit_code' and failure.rule in ('credit_code')), false) or coalesce(array_contains(_overrides, 'credit_code.credit_code'), false) then credit_code end as credit_code,
    country_code,
    city,
    street,
    postal_code,
    case when not coalesce(exists(_failures, failure -> failure.field = 'phone' and failure.rule in ('telephone')), false) or coalesce(array_contains(_overrides, 'phone.telephone'), false) then phone end as phone,
    case when not coalesce(exists(_failures, failure -> failure.field = 'email' and failure.rule in ('email')), false) or coalesce(array_contains(_overrides, 'email.email'), false) then email end as email,
    erp_customer_id,
    is_blocked,
    case when not coalesce(exists(_failures, failure -> failure.field = 'created_on' and failure.rule in ('plausible_date')), false) or coalesce(array_contains(_overrides, 'created_on.plausible_date'), false) then created_on end as created_on,
    changed_at,
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
            when (customer_id is null)
                or (customer_name is null)
                or (lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from customer_name)) in ('n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空'))
                or (customer_name rlike r'[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼')
                or (credit_code is not null and not (
                    credit_code rlike '^[0-9A-HJ-NP-RTUW-Y]{18}$'
                    and (
                        1 * (locate(substr(credit_code, 1, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 3 * (locate(substr(credit_code, 2, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 9 * (locate(substr(credit_code, 3, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 27 * (locate(substr(credit_code, 4, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 19 * (locate(substr(credit_code, 5, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 26 * (locate(substr(credit_code, 6, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 16 * (locate(substr(credit_code, 7, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 17 * (locate(substr(credit_code, 8, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 20 * (locate(substr(credit_code, 9, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 29 * (locate(substr(credit_code, 10, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 25 * (locate(substr(credit_code, 11, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 13 * (locate(substr(credit_code, 12, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 8 * (locate(substr(credit_code, 13, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 24 * (locate(substr(credit_code, 14, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 10 * (locate(substr(credit_code, 15, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 30 * (locate(substr(credit_code, 16, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 28 * (locate(substr(credit_code, 17, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                        + 1 * (locate(substr(credit_code, 18, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                    ) % 31 = 0
                ))
                or (not phone rlike '^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$' or (phone is null and coalesce(lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_phone as string))), '') not in ('', 'n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空')))
                or (not email rlike r'^[a-z0-9!#$&*+/=?^_~-]+(\.[a-z0-9!#$&*+/=?^_~-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$')
                or (is_blocked is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_blocked' in as_text %}source_is_blocked{% else %}coalesce(cast(source_is_blocked as string), {{ unreadable('is_blocked', sent) }}){% endif %} as string)), '') <> '')
                or (created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
                or (created_on not between date'1990-01-01' and date'2099-12-31')
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when customer_id is null
                            then named_struct('field', 'customer_id', 'rule', 'required', 'reason', 'customer_id is missing', 'reason_zh', '客户编码缺失', 'raw', cast(customer_id as string), 'is_withheld', true)
                    end,
                    case
                        when customer_name is null
                            then named_struct('field', 'customer_name', 'rule', 'required', 'reason', 'customer_name is missing', 'reason_zh', '客户名称缺失', 'raw', cast(source_customer_name as string), 'is_withheld', true)
                    end,
                    case
                        when lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from customer_name)) in ('n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空')
                            then named_struct('field', 'customer_name', 'rule', 'not_placeholder', 'reason', concat('customer_name is only a placeholder: ', coalesce(cast(customer_name as string), 'missing')), 'reason_zh', concat('客户名称为占位值：', coalesce(cast(customer_name as string), '空')), 'raw', cast(source_customer_name as string), 'is_withheld', true)
                    end,
                    case
                        when customer_name rlike r'[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼'
                            then named_struct('field', 'customer_name', 'rule', 'readable_text', 'reason', concat('customer_name was garbled by a wrong encoding: ', coalesce(cast(customer_name as string), 'missing')), 'reason_zh', concat('客户名称存在乱码：', coalesce(cast(customer_name as string), '空')), 'raw', cast(source_customer_name as string), 'is_withheld', false)
                    end,
                    case
                        when credit_code is not null and not (
                                credit_code rlike '^[0-9A-HJ-NP-RTUW-Y]{18}$'
                                and (
                                    1 * (locate(substr(credit_code, 1, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 3 * (locate(substr(credit_code, 2, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 9 * (locate(substr(credit_code, 3, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 27 * (locate(substr(credit_code, 4, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 19 * (locate(substr(credit_code, 5, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 26 * (locate(substr(credit_code, 6, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 16 * (locate(substr(credit_code, 7, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 17 * (locate(substr(credit_code, 8, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 20 * (locate(substr(credit_code, 9, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 29 * (locate(substr(credit_code, 10, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 25 * (locate(substr(credit_code, 11, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 13 * (locate(substr(credit_code, 12, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 8 * (locate(substr(credit_code, 13, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 24 * (locate(substr(credit_code, 14, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 10 * (locate(substr(credit_code, 15, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 30 * (locate(substr(credit_code, 16, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 28 * (locate(substr(credit_code, 17, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                    + 1 * (locate(substr(credit_code, 18, 1), '0123456789ABCDEFGHJKLMNPQRTUWXY') - 1)
                                ) % 31 = 0
                            )
                            then named_struct('field', 'credit_code', 'rule', 'credit_code', 'reason', concat('credit code ', coalesce(cast(source_credit_code as string), 'missing'), ' is not valid by GB 32100'), 'reason_zh', concat('统一社会信用代码', coalesce(cast(source_credit_code as string), '空'), '不符合GB 32100'), 'raw', cast(source_credit_code as string), 'is_withheld', false)
                    end,
                    case
                        when not phone rlike '^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$' or (phone is null and coalesce(lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_phone as string))), '') not in ('', 'n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空'))
                            then named_struct('field', 'phone', 'rule', 'telephone', 'reason', concat('phone is not a telephone number: ', coalesce(cast(source_phone as string), 'missing')), 'reason_zh', concat('电话不是有效的电话号码：', coalesce(cast(source_phone as string), '空')), 'raw', cast(source_phone as string), 'is_withheld', false)
                    end,
                    case
                        when not email rlike r'^[a-z0-9!#$&*+/=?^_~-]+(\.[a-z0-9!#$&*+/=?^_~-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$'
                            then named_struct('field', 'email', 'rule', 'email', 'reason', concat('email is not an e-mail address: ', coalesce(cast(source_email as string), 'missing')), 'reason_zh', concat('电子邮件不是有效的电子邮箱：', coalesce(cast(source_email as string), '空')), 'raw', cast(source_email as string), 'is_withheld', false)
                    end,
                    case
                        when is_blocked is null and coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'is_blocked' in as_text %}source_is_blocked{% else %}coalesce(cast(source_is_blocked as string), {{ unreadable('is_blocked', sent) }}){% endif %} as string)), '') <> ''
                            then named_struct('field', 'is_blocked', 'rule', 'type', 'reason', concat('is_blocked must be a boolean and is ', coalesce(cast({% if 'is_blocked' in as_text %}source_is_blocked{% else %}coalesce(cast(source_is_blocked as string), {{ unreadable('is_blocked', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('是否冻结的值', coalesce(cast({% if 'is_blocked' in as_text %}source_is_blocked{% else %}coalesce(cast(source_is_blocked as string), {{ unreadable('is_blocked', sent) }}){% endif %} as string), '空'), '不是有效的boolean'), 'raw', cast({% if 'is_blocked' in as_text %}source_is_blocked{% else %}coalesce(cast(source_is_blocked as string), {{ unreadable('is_blocked', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when created_on is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'created_on', 'rule', 'type', 'reason', concat('created_on must be a date and is ', coalesce(cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), 'missing')), 'reason_zh', concat('创建日期的值', coalesce(cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), '空'), '不是有效的date'), 'raw', cast({% if 'created_on' in as_text %}source_created_on{% else %}coalesce(cast(source_created_on as string), {{ unreadable('created_on', sent) }}){% endif %} as string), 'is_withheld', false)
                    end,
                    case
                        when created_on not between date'1990-01-01' and date'2099-12-31'
                            then named_struct('field', 'created_on', 'rule', 'plausible_date', 'reason', concat('created_on must be from 1990-01-01 to 2099-12-31 and is ', coalesce(cast(created_on as string), 'missing')), 'reason_zh', concat('创建日期必须在1990-01-01到2099-12-31之间，实际为', coalesce(cast(created_on as string), '空')), 'raw', cast(source_created_on as string), 'is_withheld', false)
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
            {{ without_zeros('customer_id') }} as customer_id,
            {{ blank_to_null('customer_name') }} as customer_name,
            customer_name as source_customer_name,
            {{ company_name_key(blank_to_null('customer_name')) }} as name_key,
            {{ blank_to_null('customer_group') }} as customer_group,
            {{ credit_code('credit_code') }} as credit_code,
            credit_code as source_credit_code,
            {{ upper('country_code') }} as country_code,
            {{ blank_to_null(half_width('city')) }} as city,
            {{ blank_to_null(half_width('street')) }} as street,
            {{ blank_to_null('postal_code') }} as postal_code,
            {{ phone_number('phone') }} as phone,
            phone as source_phone,
            {{ email('email') }} as email,
            email as source_email,
            {{ without_zeros('erp_customer_id') }} as erp_customer_id,
            {% if 'is_blocked' in as_text %}{{ boolean('is_blocked') }}{% else %}try_cast(is_blocked as boolean){% endif %} as is_blocked,
            is_blocked as source_is_blocked,
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
                coalesce(fixes.customer_id, given.customer_id) as customer_id,
                coalesce(fixes.customer_name, given.customer_name) as customer_name,
                coalesce(fixes.customer_group, given.customer_group) as customer_group,
                coalesce(fixes.credit_code, given.credit_code) as credit_code,
                coalesce(fixes.country_code, given.country_code) as country_code,
                coalesce(fixes.city, given.city) as city,
                coalesce(fixes.street, given.street) as street,
                coalesce(fixes.postal_code, given.postal_code) as postal_code,
                coalesce(fixes.phone, given.phone) as phone,
                coalesce(fixes.email, given.email) as email,
                coalesce(fixes.erp_customer_id, given.erp_customer_id) as erp_customer_id,
                {% if 'is_blocked' in as_text %}coalesce(fixes.is_blocked, cast(given.is_blocked as string)){% else %}coalesce(try_cast(fixes.is_blocked as boolean), given.is_blocked){% endif %} as is_blocked,
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
            left join {{ fixes_of('customer', ['customer_id', 'customer_name', 'customer_group', 'credit_code', 'country_code', 'city', 'street', 'postal_code', 'phone', 'email', 'erp_customer_id', 'is_blocked', 'created_on', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
            left join {{ overrides_of('customer') }} as overrides
                on given.source_system = overrides.source_system and given.source_key = overrides.source_key
        ) as mended
    ) as normalised
) as checked
{%- endmacro %}
