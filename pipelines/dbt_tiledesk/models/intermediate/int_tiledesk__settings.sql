-- The variables of the package, one row. No other model but the two lists beside it reads them.
select
    case '{{ var("tiledesk_week_start") }}' when 'sunday' then 7 else 1 end as week_start,
    nullif('{{ var("tiledesk_time_zone") }}', '') as time_zone,
    cast({{ var("tiledesk_include_drafts") }} as boolean) as include_drafts,
    cast({{ var("tiledesk_sla_first_reply_seconds") or "null" }} as double precision) as sla_first_reply_seconds,
    cast({{ var("tiledesk_sla_next_reply_seconds") or "null" }} as double precision) as sla_next_reply_seconds,
    cast({{ var("tiledesk_sla_resolution_seconds") or "null" }} as double precision) as sla_resolution_seconds,
    cast({{ var("tiledesk_sla_in_business_time") }} as boolean) as sla_in_business_time,
    cast({{ var("tiledesk_csat_good_from") }} as double precision) as csat_good_from,
    cast({{ var("tiledesk_durable_days") }} as integer) as durable_days,
    {% if var("tiledesk_as_of") -%}
    cast('{{ var("tiledesk_as_of") }}' as timestamp with time zone)
    {%- else -%}
    current_timestamp
    {%- endif %} as as_of
