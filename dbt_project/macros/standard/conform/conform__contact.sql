{# Made from standard/contracts/contact.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__contact(relation, parents={}, as_text=[], computed=[], carry=[], sent=['source_row']) -%}
    {#- Contact · 联系人, contract 1.0.0. -#}
    {%- do conform_demands('contact', [], ['changed_at'], [], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    contact_id,
    customer_id,
    full_name,
    case when not coalesce(exists(_failures, failure -> failure.field = 'phone' and failure.rule in ('telephone')), false) or coalesce(array_contains(_overrides, 'phone.telephone'), false) then phone end as phone,
    case when not coalesce(exists(_failures, failure -> failure.field = 'mobile' and failure.rule in ('telephone')), false) or coalesce(array_contains(_overrides, 'mobile.telephone'), false) then mobile end as mobile,
    case when not coalesce(exists(_failures, failure -> failure.field = 'email' and failure.rule in ('email')), false) or coalesce(array_contains(_overrides, 'email.email'), false) then email end as email,
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
            when (contact_id is null)
                or (customer_id is null)
                or (lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from full_name)) in ('n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空'))
                or (full_name rlike r'[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼')
                or (not phone rlike '^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$' or (phone is null and coalesce(lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_phone as string))), '') not in ('', 'n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空')))
                or (not mobile rlike '^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$' or (mobile is null and coalesce(lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_mobile as string))), '') not in ('', 'n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空')))
                or (not email rlike r'^[a-z0-9!#$&*+/=?^_~-]+(\.[a-z0-9!#$&*+/=?^_~-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$')
                or (changed_at is null and regexp_replace(coalesce(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast({% if 'changed_at' in as_text %}source_changed_at{% else %}coalesce(cast(source_changed_at as string), {{ unreadable('changed_at', sent) }}){% endif %} as string)), ''), '[-0/.: ]', '') <> '')
            then filter(
                array(
                    case
                        when contact_id is null
                            then named_struct('field', 'contact_id', 'rule', 'required', 'reason', 'contact_id is missing', 'reason_zh', '联系人编号缺失', 'raw', cast(contact_id as string), 'is_withheld', true)
                    end,
                    case
                        when customer_id is null
                            then named_struct('field', 'customer_id', 'rule', 'required', 'reason', 'customer_id is missing', 'reason_zh', '客户编码缺失', 'raw', cast(customer_id as string), 'is_withheld', true)
                    end,
                    case
                        when lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from full_name)) in ('n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空')
                            then named_struct('field', 'full_name', 'rule', 'not_placeholder', 'reason', concat('full_name is only a placeholder: ', coalesce(cast(full_name as string), 'missing')), 'reason_zh', concat('姓名为占位值：', coalesce(cast(full_name as string), '空')), 'raw', cast(source_full_name as string), 'is_withheld', false)
                    end,
                    case
                        when full_name rlike r'[\x{FFFD}\x{00}-\x{08}\x{0B}\x{0C}\x{0E}-\x{1F}]|锟斤拷|烫烫烫|屯屯屯|Ã[\x{80}-\x{BF}]|â€|ï»¿|ï¼'
                            then named_struct('field', 'full_name', 'rule', 'readable_text', 'reason', concat('full_name was garbled by a wrong encoding: ', coalesce(cast(full_name as string), 'missing')), 'reason_zh', concat('姓名存在乱码：', coalesce(cast(full_name as string), '空')), 'raw', cast(source_full_name as string), 'is_withheld', false)
                    end,
                    case
                        when not phone rlike '^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$' or (phone is null and coalesce(lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_phone as string))), '') not in ('', 'n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空'))
                            then named_struct('field', 'phone', 'rule', 'telephone', 'reason', concat('phone is not a telephone number: ', coalesce(cast(source_phone as string), 'missing')), 'reason_zh', concat('电话不是有效的电话号码：', coalesce(cast(source_phone as string), '空')), 'raw', cast(source_phone as string), 'is_withheld', false)
                    end,
                    case
                        when not mobile rlike '^[+](86(1[3-9][0-9]{9}|10[0-9]{8}|2[0-9]{9}|[3-9][0-9]{2}[0-9]{7,8}|[48]00[0-9]{7}|95[0-9]{3,6})|([1-79][0-9]|8[0-57-9])[0-9]{5,13})(;ext=[0-9]{1,6})?$' or (mobile is null and coalesce(lower(trim(both ' \t\n\r\u000b\u000c\u0085\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff' from cast(source_mobile as string))), '') not in ('', 'n/a', 'na', 'null', 'none', 'nil', 'nan', 'tbd', 'unknown', 'test', 'xxx', '.', '-', '--', '---', '?', '??', '???', '#n/a', '#ref!', '#value!', '#name?', '#div/0!', '无', '暂无', '未知', '不详', '待定', '待补', '测试', '空'))
                            then named_struct('field', 'mobile', 'rule', 'telephone', 'reason', concat('mobile is not a telephone number: ', coalesce(cast(source_mobile as string), 'missing')), 'reason_zh', concat('手机不是有效的电话号码：', coalesce(cast(source_mobile as string), '空')), 'raw', cast(source_mobile as string), 'is_withheld', false)
                    end,
                    case
                        when not email rlike r'^[a-z0-9!#$&*+/=?^_~-]+(\.[a-z0-9!#$&*+/=?^_~-]+)*@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$'
                            then named_struct('field', 'email', 'rule', 'email', 'reason', concat('email is not an e-mail address: ', coalesce(cast(source_email as string), 'missing')), 'reason_zh', concat('电子邮件不是有效的电子邮箱：', coalesce(cast(source_email as string), '空')), 'raw', cast(source_email as string), 'is_withheld', false)
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
            {{ blank_to_null('contact_id') }} as contact_id,
            {{ without_zeros('customer_id') }} as customer_id,
            {{ blank_to_null('full_name') }} as full_name,
            full_name as source_full_name,
            {{ phone_number('phone') }} as phone,
            phone as source_phone,
            {{ phone_number('mobile') }} as mobile,
            mobile as source_mobile,
            {{ email('email') }} as email,
            email as source_email,
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
                coalesce(fixes.contact_id, given.contact_id) as contact_id,
                coalesce(fixes.customer_id, given.customer_id) as customer_id,
                coalesce(fixes.full_name, given.full_name) as full_name,
                coalesce(fixes.phone, given.phone) as phone,
                coalesce(fixes.mobile, given.mobile) as mobile,
                coalesce(fixes.email, given.email) as email,
                {% if 'changed_at' in as_text %}coalesce(fixes.changed_at, cast(given.changed_at as string)){% else %}coalesce(try_cast(fixes.changed_at as timestamp), given.changed_at){% endif %} as changed_at,
                given._datong_batch_id,
                given._datong_ingested_at,
                given.source_row,
                overrides._overrides
                {%- for column in carry + (sent | reject('equalto', 'source_row') | list) %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('contact', ['contact_id', 'customer_id', 'full_name', 'phone', 'mobile', 'email', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
            left join {{ overrides_of('contact') }} as overrides
                on given.source_system = overrides.source_system and given.source_key = overrides.source_key
        ) as mended
    ) as normalised
) as checked
{%- endmacro %}
