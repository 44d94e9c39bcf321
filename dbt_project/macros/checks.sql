{#
    `_failures` lists the rules that a row breaks, null when it breaks none; conform__<entity>() makes it from the contract.
    silver.<entity> takes the rows that break none that withholds them, quarantine.<entity> lists what was broken, and the
    test `conservation` counts that no row got lost in between.
#}

{% macro is_withheld() -%}
    {#- A rule that withholds is broken, and no steward let the record pass it (macro judged). -#}
    coalesce(size(array_except(
        transform(
            filter(_failures, failure -> failure.is_withheld), failure -> concat(failure.field, '.', failure.rule)
        ),
        coalesce(_overrides, array())
    )) > 0, false)
{%- endmacro %}
