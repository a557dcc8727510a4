{# A figure of Tiledesk's own analytics: a value for each group, and the rows behind it. #}
{% macro own_figure(endpoint, source, value, by=[], window=none, filters=[''], rows='count(*)') %}
select
    id_project,
    '{{ endpoint }}' as endpoint,
    filter_by,
    filter_value,
    {% for group in ['year', 'month', 'week', 'day', 'weekday', 'hour'] -%}
    {{ group if group in by else "cast(null as integer)" }} as {{ group }},
    {% endfor -%}
    {{ "status" if "status" in by else "cast(null as bigint)" }} as status,
    {{ "has_bot" if "has_bot" in by else "cast(null as boolean)" }} as has_bot,
    {{ "label" if "label" in by else "cast(null as " ~ tiledesk.column_type("text") ~ ")" }} as label,
    cast({{ value }} as double precision) as value,
    {{ rows }} as n
from {{ source }}
where filter_by in ({% for name in filters %}'{{ name }}'{{ ", " if not loop.last }}{% endfor %})
    {%- if window %} and created_at >= as_of - interval '{{ window }}'{% endif %}
group by id_project, filter_by, filter_value{% for group in by %}, {{ group }}{% endfor %}
{%- endmacro %}
