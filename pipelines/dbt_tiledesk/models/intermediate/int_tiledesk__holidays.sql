-- Days without business time.
{% for day in var("tiledesk_holidays") -%}
select cast('{{ day }}' as date) as holiday
{{ "union all" if not loop.last }}
{% else -%}
select cast(null as date) as holiday
where false
{% endfor %}
