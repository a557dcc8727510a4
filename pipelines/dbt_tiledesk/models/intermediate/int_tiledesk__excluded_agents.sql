-- Members whose messages do not count as an agent's.
{% for agent in var("tiledesk_excluded_agents") -%}
select '{{ agent }}' as user_id
{{ "union all" if not loop.last }}
{% else -%}
select cast(null as {{ tiledesk.column_type("text") }}) as user_id
where false
{% endfor %}
