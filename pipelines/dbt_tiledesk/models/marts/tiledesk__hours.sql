{{ config(post_hook=["{{ primary_key('id_project, weekday, hour') }}"]) }}
-- One row for each weekday and hour in the project's time zone; weekday 1 is Monday, 7 is Sunday.
with

created as (
    select
        id_project,
        created_weekday as weekday,
        created_hour as hour,
        count(*) as created_conversations,
        {{ percentiles('first_reply_seconds', 'first_reply_seconds') }},
        {{ percentiles('first_reply_business_seconds', 'first_reply_business_seconds') }}
    from {{ ref('tiledesk__conversations') }}
    where is_real
    group by 1, 2, 3
),

written as (
    select
        id_project,
        created_weekday as weekday,
        created_hour as hour,
        count(*) filter (where author = 'customer') as customer_messages,
        count(*) filter (where author = 'agent') as agent_messages
    from {{ ref('tiledesk__messages') }}
    where is_real and is_public
    group by 1, 2, 3
),

spine as (
    select projects.id_project, weekdays.weekday, hours.hour
    from {{ ref('int_tiledesk__projects') }} as projects
    cross join generate_series(1, 7) as weekdays(weekday)
    cross join generate_series(0, 23) as hours(hour)
)

select
    spine.id_project,
    cast(spine.weekday as integer) as weekday,
    cast(spine.hour as integer) as hour,
    coalesce(created.created_conversations, 0) as created_conversations,
    coalesce(written.customer_messages, 0) as customer_messages,
    coalesce(written.agent_messages, 0) as agent_messages,
    created.first_reply_seconds_avg,
    created.first_reply_seconds_median,
    created.first_reply_seconds_p90,
    coalesce(created.first_reply_seconds_n, 0) as first_reply_seconds_n,
    created.first_reply_business_seconds_avg,
    created.first_reply_business_seconds_median,
    created.first_reply_business_seconds_p90,
    coalesce(created.first_reply_business_seconds_n, 0) as first_reply_business_seconds_n
from spine
left join created
    on created.id_project = spine.id_project and created.weekday = spine.weekday and created.hour = spine.hour
left join written
    on written.id_project = spine.id_project and written.weekday = spine.weekday and written.hour = spine.hour
