{{ keep_nothing() }}
-- The business seconds of a project before each time that a figure needs.
--
-- The business time between two of them is the difference.
with

times as (
    select id_project, opened_at as happened_at from {{ of_changed('int_tiledesk__open_spells', 'open_spells') }}
    union
    select id_project, closed_at from {{ of_changed('int_tiledesk__open_spells', 'open_spells') }}
    union
    select id_project, asked_at from {{ ref('int_tiledesk__responses') }}
    union
    select id_project, answered_at from {{ ref('int_tiledesk__responses') }}
    union
    select id_project, closed_at from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
    union
    select id_project, created_at from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
    union
    select id_project, from_at from {{ of_changed('int_tiledesk__holders', 'holders') }}
    union
    select id_project, happened_at from {{ of_changed('int_tiledesk__events', 'events') }}
    union
    select id_project, first_customer_at from {{ ref('int_tiledesk__conversation_messages') }}
    union
    select id_project, first_agent_at from {{ ref('int_tiledesk__conversation_messages') }}
    union
    -- the newest time of all, which tiledesk__sla measures running targets by
    select id_project, max(created_at) from {{ ref('int_tiledesk__messages') }} group by id_project
),

-- times and intervals in one order: a time belongs to the last interval that began before it
line as (
    select id_project, happened_at, cast(null as timestamp with time zone) as starts_at,
        cast(null as timestamp with time zone) as ends_at, cast(null as decimal(38, 3)) as seconds_before
    from times
    where happened_at is not null
    union all
    select id_project, starts_at, starts_at, ends_at, seconds_before
    from {{ ref('int_tiledesk__open_hours') }}
),

placed as (
    select
        line.*,
        count(starts_at) over (
            partition by id_project order by happened_at, starts_at nulls last
            rows between unbounded preceding and current row
        ) as interval_number
    from line
),

known as (
    select
        placed.*,
        max(starts_at) over (partition by id_project, interval_number) as interval_starts_at,
        max(ends_at) over (partition by id_project, interval_number) as interval_ends_at,
        max(seconds_before) over (partition by id_project, interval_number) as interval_seconds_before
    from placed
)

select
    id_project,
    happened_at,
    case
        when interval_number = 0 then 0
        else interval_seconds_before
            + {{ seconds('interval_starts_at', 'least(happened_at, interval_ends_at)') }}
    end as business_seconds
from known
where starts_at is null
