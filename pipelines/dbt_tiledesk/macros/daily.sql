{# Figures by local day and by whatever else a daily mart is grouped by.

   Columns named created_... belong to the conversations created on that day. The others belong to
   what happened on that day. A median has no sum, so each axis is aggregated by itself and joined.

   Args:
       by: the columns beside id_project and day.
       conversations: a relation with the columns of tiledesk__conversations and those of `by`.
       messages: a relation with the columns of tiledesk__messages and those of `by`.
#}
{% macro percentiles(column, prefix) -%}
    avg({{ column }}) as {{ prefix }}_avg,
    percentile_cont(0.5) within group (order by cast({{ column }} as double precision)) as {{ prefix }}_median,
    percentile_cont(0.9) within group (order by cast({{ column }} as double precision)) as {{ prefix }}_p90,
    count({{ column }}) as {{ prefix }}_n
{%- endmacro %}

{% macro daily(by, conversations, messages) %}
{%- set keys = ['id_project', 'day'] + by -%}
{%- set created = ['first_reply_seconds', 'first_reply_business_seconds', 'full_resolution_seconds',
                   'full_resolution_business_seconds'] -%}
with

conversations as (
    select * from {{ conversations }} where is_real
),

messages as (
    select * from {{ messages }} where is_real
),

events as (
    select
        events.kind,
        events.happened_on as day,
        conversations.*
    from {{ ref('int_tiledesk__events') }} as events
    inner join conversations on conversations.conversation_id = events.conversation_id
),

by_creation as (
    select
        id_project, created_on as day{% for name in by %}, {{ name }}{% endfor %},
        count(*) as created_conversations,
        count(*) filter (where opened_by = 'member') as created_by_members,
        count(*) filter (where is_abandoned) as created_abandoned,
        count(*) filter (where is_unanswered) as created_unanswered,
        count(*) filter (where reopens > 0) as created_reopened,
        count(*) filter (where bot_took_part) as created_bot_took_part,
        count(*) filter (where is_contained) as created_contained,
        count(*) filter (where is_durably_contained) as created_durably_contained,
        count(*) filter (where is_handed_over) as created_handed_over,
        count(*) filter (where is_one_touch) as created_one_touch,
        count(rating) as created_ratings,
        count(*) filter (where is_rating_good) as created_good_ratings,
        sum(rating) as created_rating_sum,
        {% for column in created -%}
        {{ percentiles(column, 'created_' ~ column) }}{{ "," if not loop.last }}
        {% endfor %}
    from conversations
    group by id_project, created_on{% for name in by %}, {{ name }}{% endfor %}
),

by_reply as (
    select
        id_project, first_replied_on as day{% for name in by %}, {{ name }}{% endfor %},
        count(*) as first_replies,
        {{ percentiles('first_reply_seconds', 'first_reply_seconds') }},
        {{ percentiles('first_reply_business_seconds', 'first_reply_business_seconds') }}
    from conversations
    where first_replied_on is not null
    group by id_project, first_replied_on{% for name in by %}, {{ name }}{% endfor %}
),

by_close as (
    select
        id_project, closed_on as day{% for name in by %}, {{ name }}{% endfor %},
        count(*) as closed_conversations,
        count(rating) as closed_ratings,
        count(*) filter (where is_rating_good) as closed_good_ratings,
        sum(rating) as closed_rating_sum,
        sum(handle_seconds) as handle_seconds,
        {{ percentiles('full_resolution_seconds', 'full_resolution_seconds') }},
        {{ percentiles('full_resolution_business_seconds', 'full_resolution_business_seconds') }}
    from conversations
    where closed_on is not null
    group by id_project, closed_on{% for name in by %}, {{ name }}{% endfor %}
),

by_event as (
    select
        id_project, day{% for name in by %}, {{ name }}{% endfor %},
        count(*) filter (where kind = 'closed') as closes,
        count(*) filter (where kind = 'reopened') as reopens
    from events
    group by id_project, day{% for name in by %}, {{ name }}{% endfor %}
),

by_message as (
    select
        id_project, created_on as day{% for name in by %}, {{ name }}{% endfor %},
        count(*) as messages,
        count(*) filter (where author = 'customer') as customer_messages,
        count(*) filter (where author = 'agent') as agent_messages,
        count(*) filter (where author = 'bot') as bot_messages
    from messages
    where is_public
    group by id_project, created_on{% for name in by %}, {{ name }}{% endfor %}
),

{% set parts = ['by_creation', 'by_reply', 'by_close', 'by_event', 'by_message'] -%}
spine as (
    {% for part in parts -%}
    select {{ keys | join(', ') }} from {{ part }}
    {{ "union" if not loop.last }}
    {% endfor %}
)

{%- set counts = {
    'by_creation': ['created_conversations', 'created_by_members', 'created_abandoned', 'created_unanswered',
        'created_reopened', 'created_bot_took_part', 'created_contained', 'created_durably_contained',
        'created_handed_over', 'created_one_touch', 'created_ratings', 'created_good_ratings'],
    'by_reply': ['first_replies'],
    'by_close': ['closed_conversations', 'closed_ratings', 'closed_good_ratings'],
    'by_event': ['closes', 'reopens'],
    'by_message': ['messages', 'customer_messages', 'agent_messages', 'bot_messages'],
} -%}
{%- set sums = {
    'by_creation': ['created_rating_sum'], 'by_close': ['closed_rating_sum', 'handle_seconds'],
} -%}
{%- set durations = {
    'by_creation': ['created_first_reply_seconds', 'created_first_reply_business_seconds',
        'created_full_resolution_seconds', 'created_full_resolution_business_seconds'],
    'by_reply': ['first_reply_seconds', 'first_reply_business_seconds'],
    'by_close': ['full_resolution_seconds', 'full_resolution_business_seconds'],
} %}

select
    {% for key in keys -%}
    spine.{{ key }},
    {% endfor -%}
    {{ week_of('spine.day', 'settings.week_start') }} as week,
    cast(date_trunc('month', spine.day) as date) as month
    {%- for part, columns in counts.items() -%}{%- for column in columns %},
    coalesce({{ part }}.{{ column }}, 0) as {{ column }}
    {%- endfor -%}{%- endfor -%}
    {%- for part, columns in sums.items() -%}{%- for column in columns %},
    {{ part }}.{{ column }}
    {%- endfor -%}{%- endfor -%}
    {%- for part, columns in durations.items() -%}{%- for column in columns %},
    {{ part }}.{{ column }}_avg,
    {{ part }}.{{ column }}_median,
    {{ part }}.{{ column }}_p90,
    coalesce({{ part }}.{{ column }}_n, 0) as {{ column }}_n
    {%- endfor -%}{%- endfor %}
from spine
cross join {{ ref('int_tiledesk__settings') }} as settings
{% for part in parts -%}
left join {{ part }}
    on {{ part }}.id_project = spine.id_project and {{ part }}.day = spine.day
    {%- for name in by %} and {{ part }}.{{ name }} is not distinct from spine.{{ name }}{% endfor %}
{% endfor %}
{% endmacro %}
