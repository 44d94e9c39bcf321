{#
    A model ops.golden_<entity> selects what is compared of each record. This has Python match them
    (datong_platform.standard.matching, by way of the plugin dbt_datong) and write who is who.
#}

{% materialization matched, adapter='spark' -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        select 1
    {%- endcall -%}
    {%- do adapter.match_records(model.config.meta.entity, compiled_code) -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [target_relation]}) }}
{%- endmaterialization %}
