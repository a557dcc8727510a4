{{ keep_months() }}
-- The figures of Tiledesk's own analytics, one row for each figure that an endpoint gives.
--
-- The definitions are the server's, oddities included: conversations that have not begun are left out
-- and drafts are not; everything is counted by creation; days, weeks and months are UTC; a week
-- begins on Sunday and is split between two months; waiting_time is the server's field, which bots and
-- private notes set too. Use the other marts for the field's definitions.
{% set parts = {
    'year': "cast(extract(year from %s) as integer)",
    'month': "cast(extract(month from %s) as integer)",
    'day': "cast(extract(day from %s) as integer)",
    'hour': "cast(extract(hour from %s) as integer)",
    'weekday': "cast(extract(dow from %s) as integer) + 1",
    'week': "cast(floor((extract(doy from %s) - 1 + 7 - extract(dow from %s)) / 7) as integer)",
} %}


with

settings as (
    select as_of from {{ ref('int_tiledesk__settings') }}
),

filtered as (
    select _id, '' as filter_by, cast(null as {{ column_type('text') }}) as filter_value
    from {{ ref('stg_tiledesk__requests') }}
    union all
    select _id, 'department_id', department from {{ ref('stg_tiledesk__requests') }} where department is not null
    union all
    select _id, 'channel', channel_name from {{ ref('stg_tiledesk__requests') }} where channel_name is not null
    union all
    select distinct parent_id, 'participant', participant
    from {{ ref('stg_tiledesk__requests__participants') }}
    where participant is not null
),

all_requests as (
    select
        requests.id_project,
        filtered.filter_by,
        filtered.filter_value,
        requests.created_at,
        settings.as_of,
        requests.preflight,
        requests.status,
        requests.has_bot,
        requests.source_page as label,
        requests.waiting_time,
        requests.rating,
        1000 * {{ seconds('requests.created_at', 'requests.closed_at') }} as duration,
        {% for name in ['year', 'month', 'day', 'hour', 'weekday'] -%}
        {{ parts[name] % utc('requests.created_at') }} as {{ name }},
        {% endfor -%}
        {{ parts['week'] % (utc('requests.created_at'), utc('requests.created_at')) }} as week
    from {{ ref('stg_tiledesk__requests') }} as requests
    inner join filtered on filtered._id = requests._id
    cross join settings
    {{- in_months('requests.created_at', 'where') }}
),

requests as (
    select * from all_requests where preflight is not true
),

requests_by_day as (
    select
        id_project, filter_by, filter_value, year, month, week, day,
        count(*) as requests,
        {% for column in ['waiting_time', 'duration', 'rating'] -%}
        sum({{ column }}) as {{ column }}_sum,
        count({{ column }}) as {{ column }}_n{{ "," if not loop.last }}
        {% endfor %}
    from requests
    group by id_project, filter_by, filter_value, year, month, week, day
),

ratings as (
    select
        id_project, '' as filter_by, cast(null as {{ column_type('text') }}) as filter_value,
        rating_sum, rating_n, requests
    from {{ ref('int_tiledesk__ratings') }}
),

-- DuckDB would keep a copy of all messages
messages as not materialized (
    select
        messages.id_project,
        '' as filter_by,
        cast(null as {{ column_type('text') }}) as filter_value,
        messages.created_at,
        settings.as_of,
        messages.sender as label,
        {% for name in ['year', 'month', 'day'] -%}
        {{ parts[name] % utc('messages.created_at') }} as {{ name }},
        {% endfor -%}
        {{ parts['week'] % (utc('messages.created_at'), utc('messages.created_at')) }} as week
    from {{ ref('stg_tiledesk__messages') }} as messages
    cross join settings
    {{- in_months('messages.created_at', 'where') }}
),

answers as (
    select
        messages.id_project,
        '' as filter_by,
        cast(null as {{ column_type('text') }}) as filter_value,
        messages.created_at,
        settings.as_of,
        messages.attributes->>'_answerid' as label
    from {{ ref('stg_tiledesk__messages') }} as messages
    cross join settings
    {{- in_months('messages.created_at', 'where') }}
),

visitors as (
    select
        users.id_project,
        '' as filter_by,
        cast(null as {{ column_type('text') }}) as filter_value,
        users.created_at,
        settings.as_of,
        {% for name in ['year', 'month', 'day'] -%}
        {{ parts[name] % utc('users.created_at') }} as {{ name }},
        {% endfor -%}
        {{ parts['week'] % (utc('users.created_at'), utc('users.created_at')) }} as week
    from {{ ref('stg_tiledesk__project_users') }} as users
    cross join settings
    where users.role in ('guest', 'user') and users.status = 'active'
    {{- in_months('users.created_at', 'and') }}
),

events as (
    select
        events.id_project,
        '' as filter_by,
        cast(null as {{ column_type('text') }}) as filter_value,
        events.created_at,
        events.name as label,
        {% for name in ['year', 'month', 'day'] -%}
        {{ parts[name] % utc('events.created_at') }} as {{ name }}{{ "," if not loop.last }}
        {% endfor -%}
    from {{ ref('stg_tiledesk__events') }} as events
    where events.name is distinct from 'typing.start'
    {{- in_months('events.created_at', 'and') }}
)

{% set daily = ['year', 'month', 'day'] -%}
{%- set monthly = ['year', 'month'] -%}
{%- set weekly = ['year', 'month', 'week'] -%}
{%- set all_filters = ['', 'department_id', 'participant', 'channel'] -%}
{%- set counted = 'cast(sum(requests) as bigint)' -%}
{%- set mean = 'cast(sum(%s_sum) as double precision) / nullif(sum(%s_n), 0)' -%}
{%- set figures = [
    own_figure('requests/count', 'requests', 'count(*)', [], '30 days'),
    own_figure('requests/aggregate/status', 'requests', 'count(*)', [], '30 days'),
    own_figure('requests/aggregate/day', 'requests_by_day', counted, daily, none, all_filters, counted),
    own_figure('requests/aggregate/status/day', 'requests', 'count(*)', daily + ['status'], none, ['', 'department_id', 'participant']),
    own_figure('requests/aggregate/month', 'requests_by_day', counted, monthly, none, ['', 'department_id'], counted),
    own_figure('requests/aggregate/week', 'requests_by_day', counted, weekly, none, [''], counted),
    own_figure('requests/aggregate/hours', 'requests', 'count(*)', ['hour'], '30 days'),
    own_figure('requests/aggregate/dayoftheweek/hours', 'requests', 'count(*)', ['weekday', 'hour'], '30 days'),
    own_figure('requests/waiting', 'requests', 'avg(waiting_time)', [], '30 days'),
    own_figure('requests/waiting/day/last', 'requests', 'avg(waiting_time)', [], '24 hours'),
    own_figure('requests/waiting/day', 'requests_by_day', mean % ('waiting_time', 'waiting_time'), daily, none, all_filters, counted),
    own_figure('requests/waiting/month', 'requests_by_day', mean % ('waiting_time', 'waiting_time'), monthly, none, [''], counted),
    own_figure('publicanalytics/waiting/current', 'all_requests', 'avg(waiting_time)', [], '4 hours'),
    own_figure('requests/duration', 'requests', 'avg(duration)', [], '30 days'),
    own_figure('requests/duration/day', 'requests_by_day', mean % ('duration', 'duration'), daily, none, all_filters, counted),
    own_figure('requests/duration/month', 'requests', 'avg(duration)', monthly, '30 days'),
    own_figure('requests/satisfaction', 'ratings', mean % ('rating', 'rating'), [], none, [''], counted),
    own_figure('requests/satisfaction/day', 'requests_by_day', mean % ('rating', 'rating'), daily, none, all_filters, counted),
    own_figure('requests/satisfaction/month', 'requests_by_day', mean % ('rating', 'rating'), monthly, none, [''], counted),
    own_figure('requests/hasBot/count', '(select * from requests where has_bot) as with_bot', 'count(*)', [], '30 days'),
    own_figure('requests/aggregate/hasBot/day', 'requests', 'count(*)', daily + ['has_bot'], none, ['', 'department_id', 'channel']),
    own_figure('requests/aggregate/sourcePage', 'requests', 'count(*)', ['label'], '30 days', ['', 'department_id']),
    own_figure('requests/aggregate/attributes/_answerid', 'answers', 'count(*)', ['label'], '7 days'),
    own_figure('messages/count', 'messages', 'count(*)', [], '30 days'),
    own_figure('messages/aggregate/day', 'messages', 'count(*)', daily),
    own_figure('messages/aggregate/month', 'messages', 'count(*)', monthly),
    own_figure('messages/aggregate/week', 'messages', 'count(*)', weekly),
    own_figure('messages/aggregate/sender', 'messages', 'count(*)', ['label'], '7 days'),
    own_figure('project_users/count', 'visitors', 'count(*)', [], '30 days'),
    own_figure('project_users/aggregate/day', 'visitors', 'count(*)', daily),
    own_figure('project_users/aggregate/month', 'visitors', 'count(*)', monthly),
    own_figure('project_users/aggregate/week', 'visitors', 'count(*)', weekly),
    own_figure('events/aggregate/day', 'events', 'count(*)', daily + ['label']),
] -%}
{{ figures | join('\nunion all\n') }}
