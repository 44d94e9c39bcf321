{# Made from standard/contracts/contact.odcs.yaml by `datong standard compile`: edit that file, not this one. #}

{% macro conform__contact(relation, parents={}, as_text=[], computed=[], carry=[]) -%}
    {#- Contact · 联系人, contract 1.0.0. -#}
    {%- do conform_demands('contact', [], ['changed_at'], [], parents, as_text, computed) -%}
select
    source_system,
    source_key,
    contact_id,
    customer_id,
    full_name,
    phone,
    mobile,
    email,
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
                or (changed_at is null and regexp_replace(coalesce(trim(cast(source_changed_at as string)), ''), '[-0/.: ]', '') <> '')
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
                        when changed_at is null and regexp_replace(coalesce(trim(cast(source_changed_at as string)), ''), '[-0/.: ]', '') <> ''
                            then named_struct('field', 'changed_at', 'rule', 'type', 'reason', concat('changed_at must be a timestamp and is ', coalesce(cast(source_changed_at as string), 'missing')), 'reason_zh', concat('更改时间的值', coalesce(cast(source_changed_at as string), '空'), '不是有效的timestamp'), 'raw', cast(source_changed_at as string), 'is_withheld', false)
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
            {{ phone_number('phone') }} as phone,
            {{ phone_number('mobile') }} as mobile,
            {{ email('email') }} as email,
            {% if 'changed_at' in as_text %}{{ timestamp('changed_at') }}{% else %}try_cast(changed_at as timestamp){% endif %} as changed_at,
            changed_at as source_changed_at,
            _datong_batch_id,
            _datong_ingested_at,
            source_row
            {%- for column in carry %},
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
                given.source_row
                {%- for column in carry %},
                given.{{ column }}
                {%- endfor %}
            from {{ relation }} as given
            left join {{ fixes_of('contact', ['contact_id', 'customer_id', 'full_name', 'phone', 'mobile', 'email', 'changed_at']) }} as fixes
                on given.source_system = fixes.source_system and given.source_key = fixes.source_key
        ) as mended
    ) as normalised
) as checked
{%- endmacro %}
