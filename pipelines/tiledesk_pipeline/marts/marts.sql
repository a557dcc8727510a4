-- Compiled by `make marts` from pipelines/dbt_tiledesk. Do not edit.
-- digest: 0c43605887411aeb36521457102d1539b4aa522e0fec941a8952aba06eac9cdf

-- model: __prep__.int_tiledesk__excluded_agents
-- Members whose messages do not count as an agent's.
select cast(null as varchar) as user_id
where false

-- model: __prep__.int_tiledesk__messages
-- Messages of conversations, with who wrote them and whether the customer can read them.
with

messages as (
    select * from "__prep__"."stg_tiledesk__messages" as messages
),

requests as (
    select _id, id_project, request_id, lead, department, channel_name
    from "__prep__"."stg_tiledesk__requests" as requests
),

leads as (
    select _id, lead_id from "__prep__"."stg_tiledesk__leads" as leads
),

excluded as (
    select user_id from "__prep__"."int_tiledesk__excluded_agents"
),

written as (
    select
        messages._id as message_id,
        requests._id as conversation_id,
        messages.id_project,
        messages.sender,
        messages.created_at,
        messages.subtype,
        messages.label_key,
        messages.label_member_ids,
        messages.type,
        requests.department as department_id,
        coalesce(messages.channel_name, requests.channel_name) as channel,
        case
            -- also a member who opened the conversation as a customer
            when messages.sender = leads.lead_id then 'customer'
            when messages.sender like 'bot\_%' escape '\' then 'bot'
            when messages.sender in ('system', '_trigger', '_bot_unresponsive')
                or messages.subtype like 'info%' then 'system'
            when messages.sender ~ '^[0-9a-f]{24}$' then 'agent'
            -- null where the privacy setting dropped the sender
            when messages.sender is not null then 'customer'
        end as author
    from messages
    inner join requests on requests.request_id = messages.recipient
    left join leads on leads._id = requests.lead
)

select
    written.*,
    coalesce(
        author in ('customer', 'agent', 'bot')
        and excluded.user_id is null
        and label_key is null
        and coalesce(subtype, '') not in ('private', 'internal')
        and coalesce(subtype, '') not like 'info%',
        false
    ) as is_public
from written
left join excluded on excluded.user_id = written.sender and written.author = 'agent'

-- model: __prep__.int_tiledesk__settings
-- The variables of the package, one row. No other model but the two lists beside it reads them.
select
    case '$week_start' when 'sunday' then 7 else 1 end as week_start,
    nullif('$time_zone', '') as time_zone,
    cast($include_drafts as boolean) as include_drafts,
    cast($sla_first_reply_seconds as double precision) as sla_first_reply_seconds,
    cast($sla_next_reply_seconds as double precision) as sla_next_reply_seconds,
    cast($sla_resolution_seconds as double precision) as sla_resolution_seconds,
    cast($sla_in_business_time as boolean) as sla_in_business_time,
    cast($csat_good_from as double precision) as csat_good_from,
    cast($durable_days as integer) as durable_days,
    cast('$as_of' as timestamp with time zone) as as_of

-- model: __prep__.int_tiledesk__projects
-- Each project with the time zone and the operating hours that its figures are counted in.
with

seen as (
    select id_project from "__prep__"."stg_tiledesk__requests"
    union
    select _id as id_project from "__prep__"."stg_tiledesk__projects"
),

projects as (
    select
        _id as id_project,
        name as project_name,
        active_operating_hours,
        trial_expired,
        profile->>'type' as plan_type,
        case when json_type(operating_hours) = 'VARCHAR' then try_cast(operating_hours->>'$' as json) else operating_hours end as operating_hours
    from "__prep__"."stg_tiledesk__projects"
),

time_zones as (
    select lower(name) as key, min(name) as name
    from (select name from pg_timezone_names()) as known
    group by lower(name)
),

chosen as (
    select
        seen.id_project,
        projects.project_name,
        projects.operating_hours,
        -- an unpaid plan has no operating hours: the server then treats the project as open
        projects.active_operating_hours is true
            and not (projects.plan_type = 'free' and projects.trial_expired is true)
            as has_operating_hours,
        coalesce(
            settings.time_zone, projects.operating_hours->>'tzname', 'UTC'
        ) as time_zone
    from seen
    left join projects on projects.id_project = seen.id_project
    cross join "__prep__"."int_tiledesk__settings" as settings
    where seen.id_project is not null
)

select
    chosen.id_project,
    chosen.project_name,
    coalesce(time_zones.name, 'UTC') as time_zone,
    time_zones.name is not null as is_time_zone_known,
    coalesce(chosen.has_operating_hours, false)
        and exists (
            select 1 from generate_series(0, 6) as week(day)
            where (chosen.operating_hours->cast(week.day as varchar)->0) is not null
        ) as has_operating_hours,
    chosen.operating_hours
from chosen
left join time_zones on time_zones.key = lower(chosen.time_zone)

-- model: __prep__.int_tiledesk__events
-- What happened to each conversation, in order: opened, closed, reopened.
--
-- The server writes a message for each close and reopen. Closing a closed conversation writes the
-- message again, so a close counts only after an opening or a reopen, and a reopen only after a close.
with

conversations as (
    select _id as conversation_id, id_project, status, created_at, closed_at
    from "__prep__"."stg_tiledesk__requests" as requests
),

labels as (
    select
        conversation_id,
        case label_key when 'CHAT_CLOSED' then 'closed' else 'reopened' end as kind,
        created_at as happened_at,
        message_id as event_id
    from "__prep__"."int_tiledesk__messages"
    where label_key in ('CHAT_CLOSED', 'CHAT_REOPENED')
),

last_labels as (
    select conversation_id, max(happened_at) as last_closed_at
    from labels
    where kind = 'closed'
    group by conversation_id
),

-- Conversations are also closed without a message, by imports and by older servers.
silent_closes as (
    select
        conversations.conversation_id,
        'closed' as kind,
        greatest(conversations.closed_at, conversations.created_at) as happened_at,
        conversations.conversation_id as event_id
    from conversations
    left join last_labels on last_labels.conversation_id = conversations.conversation_id
    where conversations.status >= 1000
        and conversations.closed_at is not null
        and (
            last_labels.last_closed_at is null
            -- the message follows the close within a moment
            or last_labels.last_closed_at < conversations.closed_at - interval '1 minute'
        )
),

everything as (
    select conversation_id, 'opened' as kind, created_at as happened_at, '' as event_id
    from conversations
    union all
    select conversation_id, kind, happened_at, event_id from labels
    union all
    select conversation_id, kind, happened_at, event_id from silent_closes
),

ordered as (
    select
        everything.*,
        lag(kind) over (partition by conversation_id order by happened_at, event_id) as kind_before
    from everything
)

select
    ordered.conversation_id,
    conversations.id_project,
    ordered.kind,
    ordered.happened_at,
    cast(ordered.happened_at at time zone projects.time_zone as date) as happened_on,
    row_number() over (
        partition by ordered.conversation_id order by ordered.happened_at, ordered.event_id
    ) as event_number
from ordered
inner join conversations on conversations.conversation_id = ordered.conversation_id
left join "__prep__"."int_tiledesk__projects" as projects on projects.id_project = conversations.id_project
where ordered.kind = 'opened'
    or (ordered.kind = 'closed' and ordered.kind_before in ('opened', 'reopened'))
    or (ordered.kind = 'reopened' and ordered.kind_before = 'closed')

-- model: __prep__.int_tiledesk__open_spells
-- The times during which each conversation was open: from its opening or a reopen to the next close.
with

events as (
    select
        conversation_id,
        id_project,
        kind,
        happened_at,
        happened_on,
        lead(happened_on) over (partition by conversation_id order by event_number) as next_on,
        lead(happened_at) over (partition by conversation_id order by event_number) as next_at
    from "__prep__"."int_tiledesk__events" as events
)

select
    conversation_id,
    id_project,
    row_number() over (partition by conversation_id order by happened_at) as spell_number,
    happened_at as opened_at,
    happened_on as opened_on,
    next_at as closed_at,
    next_on as closed_on,
    kind = 'reopened' as is_reopened
from events
where kind in ('opened', 'reopened')

-- model: __prep__.int_tiledesk__conversation_messages
-- What was written in each conversation, counted.
with

messages as (
    select
        messages.*,
        lag(case when is_public and author in ('customer', 'agent') then author end) over (
            partition by conversation_id, is_public and author in ('customer', 'agent')
            order by created_at, message_id
        ) as author_before
    from "__prep__"."int_tiledesk__messages" as messages
)

select
    conversation_id,
    min(id_project) as id_project,
    count(*) filter (where is_public) as messages,
    count(*) filter (where is_public and author = 'customer') as customer_messages,
    count(*) filter (where is_public and author = 'agent') as agent_messages,
    count(*) filter (where is_public and author = 'bot') as bot_messages,
    count(*) filter (
        where author = 'agent' and not is_public and coalesce(subtype, '') in ('private', 'internal')
    ) as private_notes,
    count(*) filter (
        where is_public and author = 'agent' and author_before is distinct from 'agent'
    ) as replies,
    count(distinct sender) filter (where is_public and author = 'agent') as agents,
    min(created_at) filter (where is_public) as first_message_at,
    max(created_at) filter (where is_public) as last_message_at,
    min(created_at) filter (where is_public and author = 'customer') as first_customer_at,
    min(created_at) filter (where is_public and author = 'agent') as first_agent_at,
    min(created_at) filter (where is_public and author = 'bot') as first_bot_at,
    max(created_at) filter (where is_public and author = 'bot') as last_bot_at,
    min(message_id) filter (where is_public and author = 'agent') is not null as has_agent_message
from messages
group by conversation_id

-- model: __prep__.int_tiledesk__holders
-- Which agent held a conversation, and when.
--
-- An agent takes a conversation over when the server assigns it to them (a message says so) or with
-- their first answer. The activity log adds assignments that no message tells. It keeps 30 days, and
-- many servers write none, so no figure depends on it alone.
with

requests as (
    select _id as conversation_id, id_project, lead, created_at
    from "__prep__"."stg_tiledesk__requests" as requests
),

assigned as (
    select
        conversation_id,
        -- an assignment to several members names them all; the first one leads
        split_part(label_member_ids, ',', 1) as agent_id,
        created_at as from_at,
        1 as precedence
    from "__prep__"."int_tiledesk__messages"
    where label_key = 'TOUCHING_OPERATOR' and label_member_ids is not null
),

answered as (
    select conversation_id, sender as agent_id, created_at as from_at, 3 as precedence
    from "__prep__"."int_tiledesk__messages"
    where is_public and author = 'agent'
),

logged as (
    select target_id as conversation_id, related_id as agent_id, created_at as from_at, 2 as precedence
    from "__prep__"."stg_tiledesk__activities" as activities
    where verb in ('REQUEST_ASSIGNED_AUTO', 'REQUEST_ASSIGNED_MANUAL', 'REQUEST_ASSIGNED_SELF')
        -- others are assignments to a department or a bot, whose ids look the same
        and related_type = 'user'
),

taken as (
    select * from assigned
    union all
    select * from answered
    union all
    select * from logged
),

valid as (
    select
        requests.conversation_id,
        requests.id_project,
        taken.agent_id,
        -- the log of an assignment can be a moment older than the conversation
        greatest(taken.from_at, requests.created_at) as from_at,
        taken.precedence
    from taken
    inner join requests on requests.conversation_id = taken.conversation_id
    where taken.agent_id ~ '^[0-9a-f]{24}$'
        and not exists (
            select 1 from "__prep__"."int_tiledesk__excluded_agents" as excluded
            where excluded.user_id = taken.agent_id
        )
),

changes as (
    select
        valid.*,
        lag(agent_id) over (
            partition by conversation_id order by from_at, precedence, agent_id
        ) as agent_before
    from valid
),

holders as (
    select
        changes.conversation_id,
        changes.id_project,
        changes.agent_id,
        changes.from_at,
        cast(changes.from_at at time zone projects.time_zone as date) as from_on,
        row_number() over (
            partition by conversation_id order by from_at, precedence, agent_id
        ) as holder_number,
        lead(from_at) over (
            partition by conversation_id order by from_at, precedence, agent_id
        ) as to_at
    from changes
    left join "__prep__"."int_tiledesk__projects" as projects on projects.id_project = changes.id_project
    where agent_before is distinct from agent_id
)

select * from holders

-- model: __prep__.int_tiledesk__holidays
-- Days without business time.
select cast(null as date) as holiday
where false

-- model: __prep__.int_tiledesk__open_hours
-- The business time of each project, as intervals in UTC that do not overlap, with the seconds before.
--
-- The project's operating hours apply to the whole history, because Tiledesk keeps no older ones. A
-- project without operating hours is always open. Each interval is made from its own date and the
-- time zone, so that changes between summer and winter time are right.
with

projects as (
    select * from "__prep__"."int_tiledesk__projects"
),

bounds as (
    select id_project, min(created_at) as first_at, max(last_at) as last_at
    from (
        select id_project, created_at, greatest(created_at, updated_at, closed_at) as last_at
        from "__prep__"."stg_tiledesk__requests" as requests
        union all
        select id_project, created_at, created_at as last_at
        from "__prep__"."int_tiledesk__messages"
    ) as times
    where created_at is not null
    group by id_project
),

days as (
    select
        projects.id_project,
        projects.time_zone,
        projects.has_operating_hours,
        projects.operating_hours,
        cast(series.day as date) as day
    from projects
    inner join bounds on bounds.id_project = projects.id_project
    cross join lateral generate_series(
        cast(cast(bounds.first_at at time zone projects.time_zone as date) as timestamp) - interval '1 day',
        cast(cast(bounds.last_at at time zone projects.time_zone as date) as timestamp) + interval '1 day',
        interval '1 day'
    ) as series(day)
    left join "__prep__"."int_tiledesk__holidays" as holidays on holidays.holiday = cast(series.day as date)
    where holidays.holiday is null
),

planned as (
    select
        days.id_project,
        days.time_zone,
        days.day,
        (
            days.operating_hours->cast(cast(extract(dow from days.day) as integer) as varchar)
            ->cast(places.place as integer)
        ) as hours
    from days
    cross join generate_series(0, 23) as places(place)
    where days.has_operating_hours
),

spelled as (
    select id_project, time_zone, day, hours->>'start' as starts, hours->>'end' as ends
    from planned
    where (hours->>'start') ~ '^([01]?[0-9]|2[0-3]):[0-5][0-9]$'
        and (hours->>'end') ~ '^(([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00)$'
),

local_intervals as (
    select
        id_project,
        time_zone,
        day + cast(starts as time) as starts,
        case when ends = '24:00' then cast(day as timestamp) + interval '1 day' else day + cast(ends as time) end as ends
    from spelled
    union all
    select id_project, time_zone, cast(day as timestamp), cast(day as timestamp) + interval '1 day'
    from days
    where not has_operating_hours
),

intervals as (
    select
        id_project,
        timezone(time_zone, starts) as starts_at,
        timezone(time_zone, ends) as ends_at
    from local_intervals
    where ends > starts
),

marked as (
    select
        intervals.*,
        case when starts_at <= max(ends_at) over (
            partition by id_project order by starts_at, ends_at
            rows between unbounded preceding and 1 preceding
        ) then 0 else 1 end as begins
    from intervals
),

grouped as (
    select
        marked.*,
        sum(begins) over (
            partition by id_project order by starts_at, ends_at
            rows between unbounded preceding and current row
        ) as block
    from marked
),

merged as (
    select id_project, min(starts_at) as starts_at, max(ends_at) as ends_at
    from grouped
    group by id_project, block
)

select
    id_project,
    starts_at,
    ends_at,
    coalesce(
        sum(cast((epoch_us(ends_at) - epoch_us(starts_at)) / 1e6 as decimal(18, 3))) over (
            partition by id_project order by starts_at
            rows between unbounded preceding and 1 preceding
        ), 0
    ) as seconds_before
from merged

-- model: __prep__.int_tiledesk__responses
-- Customer turns: what the customer wrote until the next answer of an agent.
with

said as (
    select
        conversation_id,
        id_project,
        author,
        sender,
        created_at,
        message_id,
        lag(author) over (
            partition by conversation_id order by created_at, message_id
        ) as author_before
    from "__prep__"."int_tiledesk__messages"
    where is_public and author in ('customer', 'agent')
),

turns as (
    select
        said.*,
        sum(case when author = 'customer' and author_before is distinct from 'customer' then 1 else 0 end) over (
            partition by conversation_id order by created_at, message_id
            rows between unbounded preceding and current row
        ) as turn_number
    from said
),

answers as (
    select
        turns.*,
        row_number() over (
            partition by conversation_id, turn_number, author order by created_at, message_id
        ) as place
    from turns
    where turn_number > 0
),

answered as (
    select
        conversation_id,
        id_project,
        turn_number,
        min(case when author = 'customer' then created_at end) as asked_at,
        min(case when author = 'agent' then created_at end) as answered_at,
        min(case when author = 'agent' and place = 1 then sender end) as answered_by
    from answers
    group by conversation_id, id_project, turn_number
),

bot_messages as (
    select conversation_id, created_at
    from "__prep__"."int_tiledesk__messages"
    where is_public and author = 'bot'
),

bot_answers as (
    select answered.conversation_id, answered.turn_number, min(bot_messages.created_at) as bot_answered_at
    from answered
    inner join bot_messages
        on bot_messages.conversation_id = answered.conversation_id
        and bot_messages.created_at >= answered.asked_at
        and (answered.answered_at is null or bot_messages.created_at < answered.answered_at)
    group by answered.conversation_id, answered.turn_number
)

select
    answered.*,
    bot_answers.bot_answered_at
from answered
left join bot_answers
    on bot_answers.conversation_id = answered.conversation_id
    and bot_answers.turn_number = answered.turn_number

-- model: __prep__.int_tiledesk__business_clock
-- The business seconds of a project before each time that a figure needs.
--
-- The business time between two of them is the difference.
with

times as (
    select id_project, opened_at as happened_at from "__prep__"."int_tiledesk__open_spells" as open_spells
    union
    select id_project, closed_at from "__prep__"."int_tiledesk__open_spells" as open_spells
    union
    select id_project, asked_at from "__prep__"."int_tiledesk__responses"
    union
    select id_project, answered_at from "__prep__"."int_tiledesk__responses"
    union
    select id_project, closed_at from "__prep__"."stg_tiledesk__requests" as requests
    union
    select id_project, created_at from "__prep__"."stg_tiledesk__requests" as requests
    union
    select id_project, from_at from "__prep__"."int_tiledesk__holders" as holders
    union
    select id_project, happened_at from "__prep__"."int_tiledesk__events" as events
    union
    select id_project, first_customer_at from "__prep__"."int_tiledesk__conversation_messages"
    union
    select id_project, first_agent_at from "__prep__"."int_tiledesk__conversation_messages"
    union
    -- the newest time of all, which tiledesk__sla measures running targets by
    select id_project, max(created_at) from "__prep__"."int_tiledesk__messages" group by id_project
),

-- times and intervals in one order: a time belongs to the last interval that began before it
line as (
    select id_project, happened_at, cast(null as timestamp with time zone) as starts_at,
        cast(null as timestamp with time zone) as ends_at, cast(null as decimal(38, 3)) as seconds_before
    from times
    where happened_at is not null
    union all
    select id_project, starts_at, starts_at, ends_at, seconds_before
    from "__prep__"."int_tiledesk__open_hours"
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
            + cast((epoch_us(least(happened_at, interval_ends_at)) - epoch_us(interval_starts_at)) / 1e6 as decimal(18, 3))
    end as business_seconds
from known
where starts_at is null

-- model: __prep__.int_tiledesk__handle_time
-- The time that each agent held each conversation while it was open, of spells that have ended.
select
    holders.conversation_id,
    holders.id_project,
    holders.agent_id,
    holders.holder_number,
    holders.from_at,
    sum(cast((epoch_us(least(coalesce(holders.to_at, spells.closed_at), spells.closed_at)) - epoch_us(greatest(holders.from_at, spells.opened_at))) / 1e6 as decimal(18, 3))) as handle_seconds
from "__prep__"."int_tiledesk__holders" as holders
inner join "__prep__"."int_tiledesk__open_spells" as spells
    on spells.conversation_id = holders.conversation_id
    and spells.closed_at is not null
    and spells.closed_at > holders.from_at
    and (holders.to_at is null or holders.to_at > spells.opened_at)
group by holders.conversation_id, holders.id_project, holders.agent_id, holders.holder_number, holders.from_at

-- model: __prep__.int_tiledesk__handovers
-- When a bot gave each conversation to an agent, where that can be told.
--
-- The wait for an agent begins with the assignment after the bot's last words before the agent's
-- first message; where no assignment is known, with the customer's next message; else with the bot's
-- last message.
with

first_agent as (
    select conversation_id, min(created_at) as first_agent_at
    from "__prep__"."int_tiledesk__messages"
    where is_public and author = 'agent'
    group by conversation_id
),

last_bot as (
    select bot.conversation_id, first_agent.first_agent_at, max(bot.created_at) as last_bot_at
    from "__prep__"."int_tiledesk__messages" as bot
    inner join first_agent on first_agent.conversation_id = bot.conversation_id
    where bot.is_public and bot.author = 'bot' and bot.created_at < first_agent.first_agent_at
    group by bot.conversation_id, first_agent.first_agent_at
),

assigned as (
    select last_bot.conversation_id, min(holders.from_at) as assigned_at
    from last_bot
    inner join "__prep__"."int_tiledesk__holders" as holders
        on holders.conversation_id = last_bot.conversation_id
        and holders.from_at >= last_bot.last_bot_at
        and holders.from_at < last_bot.first_agent_at
    group by last_bot.conversation_id
),

asked as (
    select last_bot.conversation_id, min(customer.created_at) as asked_at
    from last_bot
    inner join "__prep__"."int_tiledesk__messages" as customer
        on customer.conversation_id = last_bot.conversation_id
        and customer.is_public and customer.author = 'customer'
        and customer.created_at >= last_bot.last_bot_at
        and customer.created_at < last_bot.first_agent_at
    group by last_bot.conversation_id
)

select
    last_bot.conversation_id,
    coalesce(assigned.assigned_at, asked.asked_at, last_bot.last_bot_at) as handed_over_at,
    cast((epoch_us(last_bot.first_agent_at) - epoch_us(coalesce(assigned.assigned_at, asked.asked_at, last_bot.last_bot_at))) / 1e6 as decimal(18, 3))
        as first_reply_after_handover_seconds
from last_bot
left join assigned on assigned.conversation_id = last_bot.conversation_id
left join asked on asked.conversation_id = last_bot.conversation_id

-- model: __prep__.int_tiledesk__members
-- Members of the team with the name that they have or last had; removed members stay.
with

versions as (
    select * from "__prep__"."stg_tiledesk__project_users"
    where user_id is not null
),

ranked as (
    select
        versions.*,
        row_number() over (
            partition by id_project, user_id order by trashed nulls first, updated_at desc nulls last, _id
        ) as place
    from versions
)

select
    id_project,
    user_id as agent_id,
    nullif(trim(coalesce(firstname, '') || ' ' || coalesce(lastname, '')), '') as agent_name,
    role,
    coalesce(trashed, false) as is_removed
from ranked
where place = 1

-- model: __marts__.tiledesk__conversations
-- One row for each conversation, with every figure that belongs to it.
with

requests as (
    select * from "__prep__"."stg_tiledesk__requests" as requests
),

leads as (
    select * from "__prep__"."stg_tiledesk__leads" as leads
),

members as (
    select id_project, agent_id from "__prep__"."int_tiledesk__members"
),

departments as (
    select _id, id_project, name from "__prep__"."stg_tiledesk__departments"
),

tags as (
    select parent_id as conversation_id, string_agg(tag, ', ' order by position) as tags
    from "__prep__"."stg_tiledesk__requests__tags" as requests_tags
    group by parent_id
),

events as (
    select
        conversation_id,
        count(*) filter (where kind = 'closed') as closes,
        count(*) filter (where kind = 'reopened') as reopens,
        min(happened_at) filter (where kind = 'closed') as first_closed_at,
        max(happened_at) filter (where kind = 'closed') as last_closed_at,
        min(happened_at) filter (where kind = 'reopened') as first_reopened_at
    from "__prep__"."int_tiledesk__events" as events
    group by conversation_id
),

spells as (
    select
        conversation_id,
        sum(cast((epoch_us(closed_at) - epoch_us(opened_at)) / 1e6 as decimal(18, 3))) as open_seconds,
        count(*) filter (where closed_at is null) > 0 as is_open
    from "__prep__"."int_tiledesk__open_spells" as open_spells
    group by conversation_id
),

turns as (
    select
        conversation_id,
        count(*) as turns,
        count(answered_at) as answered_turns,
        sum(cast((epoch_us(answered_at) - epoch_us(asked_at)) / 1e6 as decimal(18, 3))) as customer_wait_seconds
    from "__prep__"."int_tiledesk__responses"
    group by conversation_id
),

holders as (
    select conversation_id, count(*) - 1 as transfers, count(*) > 0 as was_held
    from "__prep__"."int_tiledesk__holders" as holders
    group by conversation_id
),

last_holders as (
    select conversation_id, agent_id as last_agent_id
    from "__prep__"."int_tiledesk__holders" as holders
    where to_at is null
),

handled as (
    select conversation_id, sum(handle_seconds) as handle_seconds
    from "__prep__"."int_tiledesk__handle_time" as handle_time
    group by conversation_id
),

clock as (
    select * from "__prep__"."int_tiledesk__business_clock"
),

joined as (
    select
        requests._id as conversation_id,
        requests.id_project,
        requests.request_id,
        requests.ticket_id,
        projects.project_name,
        projects.time_zone,
        requests.status,
        requests.status_name,
        coalesce(requests.preflight, false) as is_preflight,
        coalesce(requests.draft, false) as is_draft,
        requests.preflight is not true
            and (requests.draft is not true or settings.include_drafts) as is_real,
        requests.lead as lead_id,
        requests.department as department_id,
        departments.name as department,
        requests.channel_name as channel,
        requests.language,
        requests.location_country as country,
        requests.source_page,
        requests.priority,
        requests.working_status,
        tags.tags,
        case when members.agent_id is not null then 'member' else 'customer' end as opened_by,
        requests.created_at,
        messages.first_message_at,
        messages.last_message_at,
        messages.first_customer_at,
        messages.first_agent_at,
        messages.first_bot_at,
        coalesce(messages.messages, 0) as messages,
        coalesce(messages.customer_messages, 0) as customer_messages,
        coalesce(messages.agent_messages, 0) as agent_messages,
        coalesce(messages.bot_messages, 0) as bot_messages,
        coalesce(messages.private_notes, 0) as private_notes,
        coalesce(messages.replies, 0) as replies,
        coalesce(messages.agents, 0) as agents,
        greatest(coalesce(holders.transfers, 0), 0) as transfers,
        coalesce(holders.was_held, false) as was_held,
        last_holders.last_agent_id,
        coalesce(turns.turns, 0) as turns,
        coalesce(turns.answered_turns, 0) as answered_turns,
        turns.customer_wait_seconds,
        coalesce(events.closes, 0) as closes,
        coalesce(events.reopens, 0) as reopens,
        events.first_closed_at,
        events.first_reopened_at,
        case when requests.status >= 1000 then coalesce(requests.closed_at, events.last_closed_at) end as closed_at,
        spells.open_seconds,
        coalesce(spells.is_open, true) as is_open,
        handled.handle_seconds,
        handovers.handed_over_at,
        case when handovers.first_reply_after_handover_seconds >= 0
            then handovers.first_reply_after_handover_seconds end as first_reply_after_handover_seconds,
        case
            when requests.closed_at is null then null
            when requests.closed_by = leads.lead_id then 'customer'
            when requests.closed_by like 'bot\_%' escape '\' then 'bot'
            when requests.closed_by ~ '^[0-9a-f]{24}$' then 'member'
            when requests.closed_by is not null then 'system'
        end as closed_by_kind,
        requests.rating,
        settings.csat_good_from,
        settings.durable_days,
        requests.waiting_time as tiledesk_waiting_ms,
        requests.first_response_at as tiledesk_first_response_at,
        cast((epoch_us(requests.closed_at) - epoch_us(requests.created_at)) / 1e6 as decimal(18, 3)) * 1000 as tiledesk_duration_ms,
        requests.has_bot as tiledesk_has_bot,
        requests.updated_at
    from requests
    cross join "__prep__"."int_tiledesk__settings" as settings
    left join "__prep__"."int_tiledesk__projects" as projects on projects.id_project = requests.id_project
    left join leads on leads._id = requests.lead
    left join members on members.id_project = requests.id_project and members.agent_id = leads.lead_id
    left join departments
        on departments._id = requests.department and departments.id_project = requests.id_project
    left join tags on tags.conversation_id = requests._id
    left join "__prep__"."int_tiledesk__conversation_messages" as messages on messages.conversation_id = requests._id
    left join events on events.conversation_id = requests._id
    left join spells on spells.conversation_id = requests._id
    left join turns on turns.conversation_id = requests._id
    left join holders on holders.conversation_id = requests._id
    left join last_holders on last_holders.conversation_id = requests._id
    left join handled on handled.conversation_id = requests._id
    left join "__prep__"."int_tiledesk__handovers" as handovers on handovers.conversation_id = requests._id
),

measured as (
    select
        joined.*,
        case
            when opened_by = 'customer' and first_agent_at >= first_customer_at
                then cast((epoch_us(first_agent_at) - epoch_us(first_customer_at)) / 1e6 as decimal(18, 3))
        end as first_reply_seconds,
        case when first_closed_at >= created_at then cast((epoch_us(first_closed_at) - epoch_us(created_at)) / 1e6 as decimal(18, 3)) end
            as first_resolution_seconds,
        case when closed_at >= created_at then cast((epoch_us(closed_at) - epoch_us(created_at)) / 1e6 as decimal(18, 3)) end
            as full_resolution_seconds,
        opened_by = 'customer' and bot_messages > 0 as bot_took_part
    from joined
)

select
    measured.conversation_id,
    measured.id_project,
    measured.project_name,
    measured.request_id,
    measured.ticket_id,
    measured.status,
    measured.status_name,
    measured.is_open,
    measured.is_real,
    measured.is_preflight,
    measured.is_draft,
    measured.opened_by,
    measured.lead_id,
    measured.department_id,
    measured.department,
    measured.channel,
    measured.language,
    measured.country,
    measured.source_page,
    measured.priority,
    measured.working_status,
    measured.tags,
    measured.time_zone,
    measured.created_at,
    cast(measured.created_at at time zone measured.time_zone as date) as created_on,
    cast(extract(isodow from measured.created_at at time zone measured.time_zone) as integer) as created_weekday,
    cast(extract(hour from measured.created_at at time zone measured.time_zone) as integer) as created_hour,
    measured.first_message_at,
    measured.last_message_at,
    measured.first_customer_at,
    measured.first_agent_at,
    cast(measured.first_agent_at at time zone measured.time_zone as date) as first_replied_on,
    measured.first_bot_at,
    measured.messages,
    measured.customer_messages,
    measured.agent_messages,
    measured.bot_messages,
    measured.private_notes,
    measured.replies,
    measured.agents,
    measured.transfers,
    measured.last_agent_id,
    measured.turns,
    measured.answered_turns,
    measured.first_reply_seconds,
    case when measured.first_reply_seconds is not null
        then first_agent_clock.business_seconds - first_customer_clock.business_seconds end
        as first_reply_business_seconds,
    measured.handed_over_at,
    measured.first_reply_after_handover_seconds,
    measured.customer_wait_seconds,
    measured.closes,
    measured.reopens,
    measured.first_closed_at,
    measured.closed_at,
    cast(measured.closed_at at time zone measured.time_zone as date) as closed_on,
    measured.closed_by_kind,
    measured.first_resolution_seconds,
    case when measured.first_resolution_seconds is not null
        then first_closed_clock.business_seconds - created_clock.business_seconds end
        as first_resolution_business_seconds,
    measured.full_resolution_seconds,
    case when measured.full_resolution_seconds is not null
        then closed_clock.business_seconds - created_clock.business_seconds end
        as full_resolution_business_seconds,
    measured.open_seconds,
    measured.handle_seconds,
    measured.replies = 1 and measured.closes >= 1 as is_one_touch,
    measured.closes = 1 and measured.reopens = 0 and measured.agents = 1 as is_first_contact_resolution,
    measured.bot_took_part,
    measured.bot_took_part and (measured.agent_messages > 0 or measured.was_held) as is_handed_over,
    measured.bot_took_part and measured.agent_messages = 0 and not measured.was_held
        and measured.status >= 1000 as is_contained,
    measured.bot_took_part and measured.agent_messages = 0 and not measured.was_held
        and measured.status >= 1000
        and (
            measured.first_reopened_at is null
            or cast((epoch_us(measured.first_reopened_at) - epoch_us(measured.first_closed_at)) / 1e6 as decimal(18, 3))
                > measured.durable_days * 86400
        ) as is_durably_contained,
    measured.status = 150
        or (coalesce(measured.closed_by_kind, '') = 'customer'
            and measured.agent_messages = 0 and measured.bot_messages = 0) as is_abandoned,
    measured.agent_messages = 0 and measured.bot_messages = 0 as is_unanswered,
    measured.rating,
    measured.rating >= measured.csat_good_from as is_rating_good,
    measured.tiledesk_waiting_ms,
    measured.tiledesk_first_response_at,
    measured.tiledesk_duration_ms,
    measured.tiledesk_has_bot,
    measured.updated_at
from measured
left join clock as first_agent_clock
    on first_agent_clock.id_project = measured.id_project and first_agent_clock.happened_at = measured.first_agent_at
left join clock as first_customer_clock
    on first_customer_clock.id_project = measured.id_project and first_customer_clock.happened_at = measured.first_customer_at
left join clock as first_closed_clock
    on first_closed_clock.id_project = measured.id_project and first_closed_clock.happened_at = measured.first_closed_at
left join clock as closed_clock
    on closed_clock.id_project = measured.id_project and closed_clock.happened_at = measured.closed_at
left join clock as created_clock
    on created_clock.id_project = measured.id_project and created_clock.happened_at = measured.created_at

-- model: __prep__.int_tiledesk__backlog_changes
-- The days on which each conversation begins and ends to be open, and to wait for a first answer.
with

conversations as (
    select conversation_id, id_project, department_id, department, first_agent_at, first_replied_on
    from "__marts__"."tiledesk__conversations" as conversations
    where is_real
)

select
    conversations.conversation_id,
    conversations.id_project,
    conversations.department_id,
    conversations.department,
    spells.opened_on as day,
    1 as opened,
    0 as closed,
    case when not spells.is_reopened then 1 else 0 end as waiting
from "__prep__"."int_tiledesk__open_spells" as spells
inner join conversations on conversations.conversation_id = spells.conversation_id
union all
select
    conversations.conversation_id,
    conversations.id_project,
    conversations.department_id,
    conversations.department,
    spells.closed_on as day,
    0 as opened,
    1 as closed,
    0 as waiting
from "__prep__"."int_tiledesk__open_spells" as spells
inner join conversations on conversations.conversation_id = spells.conversation_id
where spells.closed_at is not null
union all
-- a conversation stops waiting for a first answer when an agent writes or when it is first closed
select
    conversations.conversation_id,
    conversations.id_project,
    conversations.department_id,
    conversations.department,
    case
        when conversations.first_agent_at > spells.closed_at or conversations.first_agent_at is null
            then spells.closed_on
        else conversations.first_replied_on
    end as day,
    0 as opened,
    0 as closed,
    -1 as waiting
from "__prep__"."int_tiledesk__open_spells" as spells
inner join conversations on conversations.conversation_id = spells.conversation_id
where spells.spell_number = 1
    and (conversations.first_agent_at is not null or spells.closed_at is not null)

-- model: __prep__.int_tiledesk__ratings
-- All ratings of each project together, as Tiledesk's own analytics count them.
select
    id_project,
    sum(rating) as rating_sum,
    count(rating) as rating_n,
    count(*) as requests
from "__prep__"."stg_tiledesk__requests"
where preflight is not true
group by id_project

-- model: __marts__.tiledesk__messages
-- One row for each message of a conversation, with who wrote it. Texts are in tiledesk__transcripts.
select
    messages.message_id,
    messages.conversation_id,
    messages.id_project,
    messages.created_at,
    cast(messages.created_at at time zone conversations.time_zone as date) as created_on,
    cast(extract(isodow from messages.created_at at time zone conversations.time_zone) as integer) as created_weekday,
    cast(extract(hour from messages.created_at at time zone conversations.time_zone) as integer) as created_hour,
    messages.author,
    messages.sender as author_id,
    case messages.author when 'agent' then members.agent_name when 'bot' then bots.name end as author_name,
    messages.is_public,
    messages.label_key,
    messages.type,
    conversations.department_id,
    conversations.department,
    messages.channel,
    conversations.is_real
from "__prep__"."int_tiledesk__messages" as messages
inner join "__marts__"."tiledesk__conversations" as conversations
    on conversations.conversation_id = messages.conversation_id
left join "__prep__"."int_tiledesk__members" as members
    on messages.author = 'agent'
    and members.id_project = messages.id_project and members.agent_id = messages.sender
left join "__prep__"."stg_tiledesk__bots" as bots
    on messages.author = 'bot'
    and bots.id_project = messages.id_project and 'bot_' || bots._id = messages.sender

-- model: __marts__.tiledesk__responses
-- One row for each customer turn: what the customer wrote until an agent answered.
select
    responses.conversation_id,
    responses.id_project,
    cast(responses.turn_number as bigint) as turn_number,
    responses.asked_at,
    cast(responses.asked_at at time zone conversations.time_zone as date) as asked_on,
    responses.answered_at,
    cast(responses.answered_at at time zone conversations.time_zone as date) as answered_on,
    responses.answered_by as agent_id,
    responses.bot_answered_at,
    conversations.department_id,
    conversations.department,
    conversations.channel,
    conversations.is_real,
    cast((epoch_us(responses.answered_at) - epoch_us(responses.asked_at)) / 1e6 as decimal(18, 3)) as wait_seconds,
    answered_clock.business_seconds - asked_clock.business_seconds as wait_business_seconds,
    cast((epoch_us(least(responses.bot_answered_at, responses.answered_at)) - epoch_us(responses.asked_at)) / 1e6 as decimal(18, 3))
        as wait_for_any_answer_seconds
from "__prep__"."int_tiledesk__responses" as responses
inner join "__marts__"."tiledesk__conversations" as conversations
    on conversations.conversation_id = responses.conversation_id
left join "__prep__"."int_tiledesk__business_clock" as asked_clock
    on asked_clock.id_project = responses.id_project and asked_clock.happened_at = responses.asked_at
left join "__prep__"."int_tiledesk__business_clock" as answered_clock
    on answered_clock.id_project = responses.id_project and answered_clock.happened_at = responses.answered_at

-- model: __marts__.tiledesk__agents_daily
-- One row for each local day and member of the team who did something on it.
with

conversations as (
    select * from "__marts__"."tiledesk__conversations" where is_real
),

written as (
    select
        messages.id_project,
        messages.created_on as day,
        messages.author_id as agent_id,
        count(*) as messages,
        count(distinct messages.conversation_id) as conversations
    from "__marts__"."tiledesk__messages" as messages
    where messages.is_real and messages.is_public and messages.author = 'agent'
    group by messages.id_project, messages.created_on, messages.author_id
),

first_messages as (
    select conversation_id, author_id as agent_id,
        row_number() over (partition by conversation_id order by created_at, message_id) as place
    from "__marts__"."tiledesk__messages"
    where is_public and author = 'agent'
),

first_replies as (
    select
        conversations.id_project,
        conversations.first_replied_on as day,
        first_messages.agent_id,
        count(*) as first_replies,
        avg(conversations.first_reply_seconds) as first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(conversations.first_reply_seconds as double precision)) as first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(conversations.first_reply_seconds as double precision)) as first_reply_seconds_p90,
    count(conversations.first_reply_seconds) as first_reply_seconds_n,
        avg(conversations.first_reply_business_seconds) as first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(conversations.first_reply_business_seconds as double precision)) as first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(conversations.first_reply_business_seconds as double precision)) as first_reply_business_seconds_p90,
    count(conversations.first_reply_business_seconds) as first_reply_business_seconds_n
    from conversations
    inner join first_messages
        on first_messages.conversation_id = conversations.conversation_id and first_messages.place = 1
    group by conversations.id_project, conversations.first_replied_on, first_messages.agent_id
),

replies as (
    select
        responses.id_project,
        responses.answered_on as day,
        responses.agent_id,
        count(*) as replies,
        avg(responses.wait_seconds) as reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(responses.wait_seconds as double precision)) as reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(responses.wait_seconds as double precision)) as reply_seconds_p90,
    count(responses.wait_seconds) as reply_seconds_n
    from "__marts__"."tiledesk__responses" as responses
    inner join conversations on conversations.conversation_id = responses.conversation_id
    where responses.answered_at is not null
    group by 1, 2, 3
),

holders as (
    select
        holders.*,
        conversations.closed_on,
        conversations.rating,
        conversations.is_rating_good,
        lead(holders.from_on) over (
            partition by holders.conversation_id order by holders.holder_number
        ) as handed_on_day
    from "__prep__"."int_tiledesk__holders" as holders
    inner join conversations on conversations.conversation_id = holders.conversation_id
),

taken_over as (
    select id_project, from_on as day, agent_id,
        count(*) as taken_over
    from holders
    group by 1, 2, 3
),

handed_on as (
    select id_project, handed_on_day as day, agent_id,
        count(*) as handed_on
    from holders
    where handed_on_day is not null
    group by 1, 2, 3
),

-- a rating belongs to the agent who held the conversation at its end
closed as (
    select id_project, closed_on as day, agent_id,
        count(*) as closed_conversations,
        count(rating) as ratings,
        count(*) filter (where is_rating_good) as good_ratings,
        sum(rating) as rating_sum
    from holders
    where handed_on_day is null and closed_on is not null
    group by 1, 2, 3
),

handled as (
    select handle.id_project, conversations.closed_on as day, handle.agent_id,
        sum(handle.handle_seconds) as handle_seconds
    from "__prep__"."int_tiledesk__handle_time" as handle
    inner join conversations on conversations.conversation_id = handle.conversation_id
    where conversations.closed_on is not null
    group by 1, 2, 3
),

spine as (
    select id_project, day, agent_id from written
    union
    select id_project, day, agent_id from first_replies
    union
    select id_project, day, agent_id from replies
    union
    select id_project, day, agent_id from taken_over
    union
    select id_project, day, agent_id from handed_on
    union
    select id_project, day, agent_id from closed
    union
    select id_project, day, agent_id from handled
)

select
    spine.id_project,
    spine.day,
    spine.agent_id,
    coalesce(members.agent_name, spine.agent_id) as agent_name,
    coalesce(members.is_removed, true) as is_removed,
    coalesce(written.conversations, 0) as conversations,
    coalesce(written.messages, 0) as messages,
    coalesce(first_replies.first_replies, 0) as first_replies,
    first_replies.first_reply_seconds_avg,
    first_replies.first_reply_seconds_median,
    first_replies.first_reply_seconds_p90,
    coalesce(first_replies.first_reply_seconds_n, 0) as first_reply_seconds_n,
    first_replies.first_reply_business_seconds_avg,
    first_replies.first_reply_business_seconds_median,
    first_replies.first_reply_business_seconds_p90,
    coalesce(first_replies.first_reply_business_seconds_n, 0) as first_reply_business_seconds_n,
    coalesce(replies.replies, 0) as replies,
    replies.reply_seconds_avg,
    replies.reply_seconds_median,
    replies.reply_seconds_p90,
    coalesce(replies.reply_seconds_n, 0) as reply_seconds_n,
    coalesce(taken_over.taken_over, 0) as taken_over,
    coalesce(handed_on.handed_on, 0) as handed_on,
    coalesce(closed.closed_conversations, 0) as closed_conversations,
    handled.handle_seconds,
    coalesce(closed.ratings, 0) as ratings,
    coalesce(closed.good_ratings, 0) as good_ratings,
    closed.rating_sum
from spine
left join "__prep__"."int_tiledesk__members" as members
    on members.id_project = spine.id_project and members.agent_id = spine.agent_id
left join written
    on written.id_project = spine.id_project
    and written.day = spine.day
    and written.agent_id = spine.agent_id
left join first_replies
    on first_replies.id_project = spine.id_project
    and first_replies.day = spine.day
    and first_replies.agent_id = spine.agent_id
left join replies
    on replies.id_project = spine.id_project
    and replies.day = spine.day
    and replies.agent_id = spine.agent_id
left join taken_over
    on taken_over.id_project = spine.id_project
    and taken_over.day = spine.day
    and taken_over.agent_id = spine.agent_id
left join handed_on
    on handed_on.id_project = spine.id_project
    and handed_on.day = spine.day
    and handed_on.agent_id = spine.agent_id
left join closed
    on closed.id_project = spine.id_project
    and closed.day = spine.day
    and closed.agent_id = spine.agent_id
left join handled
    on handled.id_project = spine.id_project
    and handled.day = spine.day
    and handled.agent_id = spine.agent_id

-- model: __marts__.tiledesk__backlog_daily
-- Conversations that are open at the end of each local day, by department.
with

per_day as (
    select
        id_project, department_id, department, day,
        cast(sum(opened) as bigint) as opened,
        cast(sum(closed) as bigint) as closed,
        cast(sum(waiting) as bigint) as waiting
    from "__prep__"."int_tiledesk__backlog_changes"
    group by id_project, department_id, department, day
),

last_days as (
    select id_project, max(day) as last_day from per_day group by id_project
),

days as (
    select bounds.id_project, bounds.department_id, bounds.department, cast(series.day as date) as day
    from (
        select id_project, department_id, department, min(day) as first_day
        from per_day
        group by id_project, department_id, department
    ) as bounds
    inner join last_days on last_days.id_project = bounds.id_project
    cross join lateral generate_series(
        cast(bounds.first_day as timestamp), cast(last_days.last_day as timestamp), interval '1 day'
    ) as series(day)
)

select
    days.id_project,
    days.day,
    days.department_id,
    days.department,
    coalesce(per_day.opened, 0) as opened,
    coalesce(per_day.closed, 0) as closed,
    cast(sum(coalesce(per_day.opened, 0) - coalesce(per_day.closed, 0)) over running as bigint) as open_at_end,
    cast(sum(coalesce(per_day.waiting, 0)) over running as bigint) as unanswered_at_end
from days
left join per_day
    on per_day.id_project = days.id_project
    and per_day.department_id is not distinct from days.department_id
    and per_day.day = days.day
window running as (
    partition by days.id_project, days.department_id order by days.day
    rows between unbounded preceding and current row
)

-- model: __marts__.tiledesk__bots
-- One row for each local day and bot. Published versions of a bot count as the bot.
with

bots as (
    select
        id_project,
        _id as version_id,
        coalesce(root_id, _id) as bot_id,
        name
    from "__prep__"."stg_tiledesk__bots"
),

names as (
    select id_project, bot_id, min(name) as bot_name
    from bots
    group by id_project, bot_id
),

written as (
    select
        messages.conversation_id,
        messages.id_project,
        coalesce(bots.bot_id, substr(messages.author_id, 5)) as bot_id,
        count(*) as bot_messages
    from "__marts__"."tiledesk__messages" as messages
    left join bots
        on bots.id_project = messages.id_project and 'bot_' || bots.version_id = messages.author_id
    where messages.author = 'bot' and messages.is_public and messages.is_real
    group by 1, 2, 3
),

asked as (
    select conversation_id, sum(answered) as answered_questions, sum(unanswered) as unanswered_questions
    from (
        select requests._id as conversation_id, 1 as answered, 0 as unanswered
        from "__prep__"."stg_tiledesk__answered_questions" as questions
        inner join "__prep__"."stg_tiledesk__requests" as requests on requests.request_id = questions.request_id
        union all
        select requests._id, 0, 1
        from "__prep__"."stg_tiledesk__unanswered_questions" as questions
        inner join "__prep__"."stg_tiledesk__requests" as requests on requests.request_id = questions.request_id
    ) as questions
    group by conversation_id
)

select
    written.id_project,
    conversations.created_on as day,
    written.bot_id,
    names.bot_name,
    count(*) filter (where conversations.bot_took_part) as conversations,
    count(*) filter (where conversations.is_contained) as contained,
    count(*) filter (where conversations.is_durably_contained) as durably_contained,
    count(*) filter (where conversations.is_handed_over) as handed_over,
    count(*) filter (where conversations.bot_took_part and conversations.is_open) as still_open,
    cast(sum(written.bot_messages) as bigint) as bot_messages,
    cast(coalesce(sum(asked.answered_questions), 0) as bigint) as answered_questions,
    cast(coalesce(sum(asked.unanswered_questions), 0) as bigint) as unanswered_questions
from written
inner join "__marts__"."tiledesk__conversations" as conversations
    on conversations.conversation_id = written.conversation_id
left join names on names.id_project = written.id_project and names.bot_id = written.bot_id
left join asked on asked.conversation_id = written.conversation_id
group by 1, 2, 3, 4

-- model: __marts__.tiledesk__daily
-- One row for each local day, department and channel.
with

conversations as (
    select * from "__marts__"."tiledesk__conversations" where is_real
),

messages as (
    select * from "__marts__"."tiledesk__messages" where is_real
),

events as (
    select
        events.kind,
        events.happened_on as day,
        conversations.*
    from "__prep__"."int_tiledesk__events" as events
    inner join conversations on conversations.conversation_id = events.conversation_id
),

by_creation as (
    select
        id_project, created_on as day, department_id, department, channel,
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
        avg(first_reply_seconds) as created_first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as created_first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as created_first_reply_seconds_p90,
    count(first_reply_seconds) as created_first_reply_seconds_n,
        avg(first_reply_business_seconds) as created_first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as created_first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as created_first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as created_first_reply_business_seconds_n,
        avg(full_resolution_seconds) as created_full_resolution_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_seconds as double precision)) as created_full_resolution_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_seconds as double precision)) as created_full_resolution_seconds_p90,
    count(full_resolution_seconds) as created_full_resolution_seconds_n,
        avg(full_resolution_business_seconds) as created_full_resolution_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_business_seconds as double precision)) as created_full_resolution_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_business_seconds as double precision)) as created_full_resolution_business_seconds_p90,
    count(full_resolution_business_seconds) as created_full_resolution_business_seconds_n
        
    from conversations
    group by id_project, created_on, department_id, department, channel
),

by_reply as (
    select
        id_project, first_replied_on as day, department_id, department, channel,
        count(*) as first_replies,
        avg(first_reply_seconds) as first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_p90,
    count(first_reply_seconds) as first_reply_seconds_n,
        avg(first_reply_business_seconds) as first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as first_reply_business_seconds_n
    from conversations
    where first_replied_on is not null
    group by id_project, first_replied_on, department_id, department, channel
),

by_close as (
    select
        id_project, closed_on as day, department_id, department, channel,
        count(*) as closed_conversations,
        count(rating) as closed_ratings,
        count(*) filter (where is_rating_good) as closed_good_ratings,
        sum(rating) as closed_rating_sum,
        sum(handle_seconds) as handle_seconds,
        avg(full_resolution_seconds) as full_resolution_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_seconds as double precision)) as full_resolution_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_seconds as double precision)) as full_resolution_seconds_p90,
    count(full_resolution_seconds) as full_resolution_seconds_n,
        avg(full_resolution_business_seconds) as full_resolution_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_business_seconds as double precision)) as full_resolution_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_business_seconds as double precision)) as full_resolution_business_seconds_p90,
    count(full_resolution_business_seconds) as full_resolution_business_seconds_n
    from conversations
    where closed_on is not null
    group by id_project, closed_on, department_id, department, channel
),

by_event as (
    select
        id_project, day, department_id, department, channel,
        count(*) filter (where kind = 'closed') as closes,
        count(*) filter (where kind = 'reopened') as reopens
    from events
    group by id_project, day, department_id, department, channel
),

by_message as (
    select
        id_project, created_on as day, department_id, department, channel,
        count(*) as messages,
        count(*) filter (where author = 'customer') as customer_messages,
        count(*) filter (where author = 'agent') as agent_messages,
        count(*) filter (where author = 'bot') as bot_messages
    from messages
    where is_public
    group by id_project, created_on, department_id, department, channel
),

spine as (
    select id_project, day, department_id, department, channel from by_creation
    union
    select id_project, day, department_id, department, channel from by_reply
    union
    select id_project, day, department_id, department, channel from by_close
    union
    select id_project, day, department_id, department, channel from by_event
    union
    select id_project, day, department_id, department, channel from by_message
    
    
)

select
    spine.id_project,
    spine.day,
    spine.department_id,
    spine.department,
    spine.channel,
    cast(spine.day - cast(mod(cast(extract(isodow from spine.day) as integer) - settings.week_start + 7, 7) as integer) as date) as week,
    cast(date_trunc('month', spine.day) as date) as month,
    coalesce(by_creation.created_conversations, 0) as created_conversations,
    coalesce(by_creation.created_by_members, 0) as created_by_members,
    coalesce(by_creation.created_abandoned, 0) as created_abandoned,
    coalesce(by_creation.created_unanswered, 0) as created_unanswered,
    coalesce(by_creation.created_reopened, 0) as created_reopened,
    coalesce(by_creation.created_bot_took_part, 0) as created_bot_took_part,
    coalesce(by_creation.created_contained, 0) as created_contained,
    coalesce(by_creation.created_durably_contained, 0) as created_durably_contained,
    coalesce(by_creation.created_handed_over, 0) as created_handed_over,
    coalesce(by_creation.created_one_touch, 0) as created_one_touch,
    coalesce(by_creation.created_ratings, 0) as created_ratings,
    coalesce(by_creation.created_good_ratings, 0) as created_good_ratings,
    coalesce(by_reply.first_replies, 0) as first_replies,
    coalesce(by_close.closed_conversations, 0) as closed_conversations,
    coalesce(by_close.closed_ratings, 0) as closed_ratings,
    coalesce(by_close.closed_good_ratings, 0) as closed_good_ratings,
    coalesce(by_event.closes, 0) as closes,
    coalesce(by_event.reopens, 0) as reopens,
    coalesce(by_message.messages, 0) as messages,
    coalesce(by_message.customer_messages, 0) as customer_messages,
    coalesce(by_message.agent_messages, 0) as agent_messages,
    coalesce(by_message.bot_messages, 0) as bot_messages,
    by_creation.created_rating_sum,
    by_close.closed_rating_sum,
    by_close.handle_seconds,
    by_creation.created_first_reply_seconds_avg,
    by_creation.created_first_reply_seconds_median,
    by_creation.created_first_reply_seconds_p90,
    coalesce(by_creation.created_first_reply_seconds_n, 0) as created_first_reply_seconds_n,
    by_creation.created_first_reply_business_seconds_avg,
    by_creation.created_first_reply_business_seconds_median,
    by_creation.created_first_reply_business_seconds_p90,
    coalesce(by_creation.created_first_reply_business_seconds_n, 0) as created_first_reply_business_seconds_n,
    by_creation.created_full_resolution_seconds_avg,
    by_creation.created_full_resolution_seconds_median,
    by_creation.created_full_resolution_seconds_p90,
    coalesce(by_creation.created_full_resolution_seconds_n, 0) as created_full_resolution_seconds_n,
    by_creation.created_full_resolution_business_seconds_avg,
    by_creation.created_full_resolution_business_seconds_median,
    by_creation.created_full_resolution_business_seconds_p90,
    coalesce(by_creation.created_full_resolution_business_seconds_n, 0) as created_full_resolution_business_seconds_n,
    by_reply.first_reply_seconds_avg,
    by_reply.first_reply_seconds_median,
    by_reply.first_reply_seconds_p90,
    coalesce(by_reply.first_reply_seconds_n, 0) as first_reply_seconds_n,
    by_reply.first_reply_business_seconds_avg,
    by_reply.first_reply_business_seconds_median,
    by_reply.first_reply_business_seconds_p90,
    coalesce(by_reply.first_reply_business_seconds_n, 0) as first_reply_business_seconds_n,
    by_close.full_resolution_seconds_avg,
    by_close.full_resolution_seconds_median,
    by_close.full_resolution_seconds_p90,
    coalesce(by_close.full_resolution_seconds_n, 0) as full_resolution_seconds_n,
    by_close.full_resolution_business_seconds_avg,
    by_close.full_resolution_business_seconds_median,
    by_close.full_resolution_business_seconds_p90,
    coalesce(by_close.full_resolution_business_seconds_n, 0) as full_resolution_business_seconds_n
from spine
cross join "__prep__"."int_tiledesk__settings" as settings
left join by_creation
    on by_creation.id_project = spine.id_project and by_creation.day = spine.day and by_creation.department_id is not distinct from spine.department_id and by_creation.department is not distinct from spine.department and by_creation.channel is not distinct from spine.channel
left join by_reply
    on by_reply.id_project = spine.id_project and by_reply.day = spine.day and by_reply.department_id is not distinct from spine.department_id and by_reply.department is not distinct from spine.department and by_reply.channel is not distinct from spine.channel
left join by_close
    on by_close.id_project = spine.id_project and by_close.day = spine.day and by_close.department_id is not distinct from spine.department_id and by_close.department is not distinct from spine.department and by_close.channel is not distinct from spine.channel
left join by_event
    on by_event.id_project = spine.id_project and by_event.day = spine.day and by_event.department_id is not distinct from spine.department_id and by_event.department is not distinct from spine.department and by_event.channel is not distinct from spine.channel
left join by_message
    on by_message.id_project = spine.id_project and by_message.day = spine.day and by_message.department_id is not distinct from spine.department_id and by_message.department is not distinct from spine.department and by_message.channel is not distinct from spine.channel

-- model: __marts__.tiledesk__departments_daily
-- One row for each local day and department.
with

conversations as (
    select * from "__marts__"."tiledesk__conversations" where is_real
),

messages as (
    select * from "__marts__"."tiledesk__messages" where is_real
),

events as (
    select
        events.kind,
        events.happened_on as day,
        conversations.*
    from "__prep__"."int_tiledesk__events" as events
    inner join conversations on conversations.conversation_id = events.conversation_id
),

by_creation as (
    select
        id_project, created_on as day, department_id, department,
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
        avg(first_reply_seconds) as created_first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as created_first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as created_first_reply_seconds_p90,
    count(first_reply_seconds) as created_first_reply_seconds_n,
        avg(first_reply_business_seconds) as created_first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as created_first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as created_first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as created_first_reply_business_seconds_n,
        avg(full_resolution_seconds) as created_full_resolution_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_seconds as double precision)) as created_full_resolution_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_seconds as double precision)) as created_full_resolution_seconds_p90,
    count(full_resolution_seconds) as created_full_resolution_seconds_n,
        avg(full_resolution_business_seconds) as created_full_resolution_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_business_seconds as double precision)) as created_full_resolution_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_business_seconds as double precision)) as created_full_resolution_business_seconds_p90,
    count(full_resolution_business_seconds) as created_full_resolution_business_seconds_n
        
    from conversations
    group by id_project, created_on, department_id, department
),

by_reply as (
    select
        id_project, first_replied_on as day, department_id, department,
        count(*) as first_replies,
        avg(first_reply_seconds) as first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_p90,
    count(first_reply_seconds) as first_reply_seconds_n,
        avg(first_reply_business_seconds) as first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as first_reply_business_seconds_n
    from conversations
    where first_replied_on is not null
    group by id_project, first_replied_on, department_id, department
),

by_close as (
    select
        id_project, closed_on as day, department_id, department,
        count(*) as closed_conversations,
        count(rating) as closed_ratings,
        count(*) filter (where is_rating_good) as closed_good_ratings,
        sum(rating) as closed_rating_sum,
        sum(handle_seconds) as handle_seconds,
        avg(full_resolution_seconds) as full_resolution_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_seconds as double precision)) as full_resolution_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_seconds as double precision)) as full_resolution_seconds_p90,
    count(full_resolution_seconds) as full_resolution_seconds_n,
        avg(full_resolution_business_seconds) as full_resolution_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_business_seconds as double precision)) as full_resolution_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_business_seconds as double precision)) as full_resolution_business_seconds_p90,
    count(full_resolution_business_seconds) as full_resolution_business_seconds_n
    from conversations
    where closed_on is not null
    group by id_project, closed_on, department_id, department
),

by_event as (
    select
        id_project, day, department_id, department,
        count(*) filter (where kind = 'closed') as closes,
        count(*) filter (where kind = 'reopened') as reopens
    from events
    group by id_project, day, department_id, department
),

by_message as (
    select
        id_project, created_on as day, department_id, department,
        count(*) as messages,
        count(*) filter (where author = 'customer') as customer_messages,
        count(*) filter (where author = 'agent') as agent_messages,
        count(*) filter (where author = 'bot') as bot_messages
    from messages
    where is_public
    group by id_project, created_on, department_id, department
),

spine as (
    select id_project, day, department_id, department from by_creation
    union
    select id_project, day, department_id, department from by_reply
    union
    select id_project, day, department_id, department from by_close
    union
    select id_project, day, department_id, department from by_event
    union
    select id_project, day, department_id, department from by_message
    
    
)

select
    spine.id_project,
    spine.day,
    spine.department_id,
    spine.department,
    cast(spine.day - cast(mod(cast(extract(isodow from spine.day) as integer) - settings.week_start + 7, 7) as integer) as date) as week,
    cast(date_trunc('month', spine.day) as date) as month,
    coalesce(by_creation.created_conversations, 0) as created_conversations,
    coalesce(by_creation.created_by_members, 0) as created_by_members,
    coalesce(by_creation.created_abandoned, 0) as created_abandoned,
    coalesce(by_creation.created_unanswered, 0) as created_unanswered,
    coalesce(by_creation.created_reopened, 0) as created_reopened,
    coalesce(by_creation.created_bot_took_part, 0) as created_bot_took_part,
    coalesce(by_creation.created_contained, 0) as created_contained,
    coalesce(by_creation.created_durably_contained, 0) as created_durably_contained,
    coalesce(by_creation.created_handed_over, 0) as created_handed_over,
    coalesce(by_creation.created_one_touch, 0) as created_one_touch,
    coalesce(by_creation.created_ratings, 0) as created_ratings,
    coalesce(by_creation.created_good_ratings, 0) as created_good_ratings,
    coalesce(by_reply.first_replies, 0) as first_replies,
    coalesce(by_close.closed_conversations, 0) as closed_conversations,
    coalesce(by_close.closed_ratings, 0) as closed_ratings,
    coalesce(by_close.closed_good_ratings, 0) as closed_good_ratings,
    coalesce(by_event.closes, 0) as closes,
    coalesce(by_event.reopens, 0) as reopens,
    coalesce(by_message.messages, 0) as messages,
    coalesce(by_message.customer_messages, 0) as customer_messages,
    coalesce(by_message.agent_messages, 0) as agent_messages,
    coalesce(by_message.bot_messages, 0) as bot_messages,
    by_creation.created_rating_sum,
    by_close.closed_rating_sum,
    by_close.handle_seconds,
    by_creation.created_first_reply_seconds_avg,
    by_creation.created_first_reply_seconds_median,
    by_creation.created_first_reply_seconds_p90,
    coalesce(by_creation.created_first_reply_seconds_n, 0) as created_first_reply_seconds_n,
    by_creation.created_first_reply_business_seconds_avg,
    by_creation.created_first_reply_business_seconds_median,
    by_creation.created_first_reply_business_seconds_p90,
    coalesce(by_creation.created_first_reply_business_seconds_n, 0) as created_first_reply_business_seconds_n,
    by_creation.created_full_resolution_seconds_avg,
    by_creation.created_full_resolution_seconds_median,
    by_creation.created_full_resolution_seconds_p90,
    coalesce(by_creation.created_full_resolution_seconds_n, 0) as created_full_resolution_seconds_n,
    by_creation.created_full_resolution_business_seconds_avg,
    by_creation.created_full_resolution_business_seconds_median,
    by_creation.created_full_resolution_business_seconds_p90,
    coalesce(by_creation.created_full_resolution_business_seconds_n, 0) as created_full_resolution_business_seconds_n,
    by_reply.first_reply_seconds_avg,
    by_reply.first_reply_seconds_median,
    by_reply.first_reply_seconds_p90,
    coalesce(by_reply.first_reply_seconds_n, 0) as first_reply_seconds_n,
    by_reply.first_reply_business_seconds_avg,
    by_reply.first_reply_business_seconds_median,
    by_reply.first_reply_business_seconds_p90,
    coalesce(by_reply.first_reply_business_seconds_n, 0) as first_reply_business_seconds_n,
    by_close.full_resolution_seconds_avg,
    by_close.full_resolution_seconds_median,
    by_close.full_resolution_seconds_p90,
    coalesce(by_close.full_resolution_seconds_n, 0) as full_resolution_seconds_n,
    by_close.full_resolution_business_seconds_avg,
    by_close.full_resolution_business_seconds_median,
    by_close.full_resolution_business_seconds_p90,
    coalesce(by_close.full_resolution_business_seconds_n, 0) as full_resolution_business_seconds_n
from spine
cross join "__prep__"."int_tiledesk__settings" as settings
left join by_creation
    on by_creation.id_project = spine.id_project and by_creation.day = spine.day and by_creation.department_id is not distinct from spine.department_id and by_creation.department is not distinct from spine.department
left join by_reply
    on by_reply.id_project = spine.id_project and by_reply.day = spine.day and by_reply.department_id is not distinct from spine.department_id and by_reply.department is not distinct from spine.department
left join by_close
    on by_close.id_project = spine.id_project and by_close.day = spine.day and by_close.department_id is not distinct from spine.department_id and by_close.department is not distinct from spine.department
left join by_event
    on by_event.id_project = spine.id_project and by_event.day = spine.day and by_event.department_id is not distinct from spine.department_id and by_event.department is not distinct from spine.department
left join by_message
    on by_message.id_project = spine.id_project and by_message.day = spine.day and by_message.department_id is not distinct from spine.department_id and by_message.department is not distinct from spine.department

-- model: __marts__.tiledesk__hours
-- One row for each weekday and hour in the project's time zone; weekday 1 is Monday, 7 is Sunday.
with

created as (
    select
        id_project,
        created_weekday as weekday,
        created_hour as hour,
        count(*) as created_conversations,
        avg(first_reply_seconds) as first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_p90,
    count(first_reply_seconds) as first_reply_seconds_n,
        avg(first_reply_business_seconds) as first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as first_reply_business_seconds_n
    from "__marts__"."tiledesk__conversations"
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
    from "__marts__"."tiledesk__messages"
    where is_real and is_public
    group by 1, 2, 3
),

spine as (
    select projects.id_project, weekdays.weekday, hours.hour
    from "__prep__"."int_tiledesk__projects" as projects
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

-- model: __marts__.tiledesk__leads
-- One row for each lead, with its conversations.
with

conversations as (
    select
        lead_id,
        count(*) as conversations,
        count(*) filter (where is_open) as open_conversations,
        count(*) filter (where reopens > 0) as reopened_conversations,
        min(created_at) as first_conversation_at,
        max(created_at) as last_conversation_at,
        count(rating) as ratings,
        sum(rating) as rating_sum,
        avg(rating) as rating_avg
    from "__marts__"."tiledesk__conversations"
    where is_real
    group by lead_id
),

firsts as (
    select
        lead_id,
        channel as first_channel,
        source_page as first_source_page,
        row_number() over (partition by lead_id order by created_at, conversation_id) as place
    from "__marts__"."tiledesk__conversations"
    where is_real
)

select
    leads._id as lead_id,
    leads.id_project,
    leads.status,
    leads.status_name,
    leads.country,
    leads.created_at,
    firsts.first_channel,
    firsts.first_source_page,
    coalesce(conversations.conversations, 0) as conversations,
    coalesce(conversations.open_conversations, 0) as open_conversations,
    coalesce(conversations.reopened_conversations, 0) as reopened_conversations,
    conversations.first_conversation_at,
    conversations.last_conversation_at,
    coalesce(conversations.ratings, 0) as ratings,
    conversations.rating_sum,
    conversations.rating_avg
from "__prep__"."stg_tiledesk__leads" as leads
left join conversations on conversations.lead_id = leads._id
left join firsts on firsts.lead_id = leads._id and firsts.place = 1

-- model: __marts__.tiledesk__own_analytics
-- The figures of Tiledesk's own analytics, one row for each figure that an endpoint gives.
--
-- The definitions are the server's, oddities included: conversations that have not begun are left out
-- and drafts are not; everything is counted by creation; days, weeks and months are UTC; a week
-- begins on Sunday and is split between two months; waiting_time is the server's field, which bots and
-- private notes set too. Use the other marts for the field's definitions.



with

settings as (
    select as_of from "__prep__"."int_tiledesk__settings"
),

filtered as (
    select _id, '' as filter_by, cast(null as varchar) as filter_value
    from "__prep__"."stg_tiledesk__requests"
    union all
    select _id, 'department_id', department from "__prep__"."stg_tiledesk__requests" where department is not null
    union all
    select _id, 'channel', channel_name from "__prep__"."stg_tiledesk__requests" where channel_name is not null
    union all
    select distinct parent_id, 'participant', participant
    from "__prep__"."stg_tiledesk__requests__participants"
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
        1000 * cast((epoch_us(requests.closed_at) - epoch_us(requests.created_at)) / 1e6 as decimal(18, 3)) as duration,
        cast(extract(year from make_timestamp(epoch_us(requests.created_at))) as integer) as year,
        cast(extract(month from make_timestamp(epoch_us(requests.created_at))) as integer) as month,
        cast(extract(day from make_timestamp(epoch_us(requests.created_at))) as integer) as day,
        cast(extract(hour from make_timestamp(epoch_us(requests.created_at))) as integer) as hour,
        cast(extract(dow from make_timestamp(epoch_us(requests.created_at))) as integer) + 1 as weekday,
        cast(floor((extract(doy from make_timestamp(epoch_us(requests.created_at))) - 1 + 7 - extract(dow from make_timestamp(epoch_us(requests.created_at)))) / 7) as integer) as week
    from "__prep__"."stg_tiledesk__requests" as requests
    inner join filtered on filtered._id = requests._id
    cross join settings
),

requests as (
    select * from all_requests where preflight is not true
),

requests_by_day as (
    select
        id_project, filter_by, filter_value, year, month, week, day,
        count(*) as requests,
        sum(waiting_time) as waiting_time_sum,
        count(waiting_time) as waiting_time_n,
        sum(duration) as duration_sum,
        count(duration) as duration_n,
        sum(rating) as rating_sum,
        count(rating) as rating_n
        
    from requests
    group by id_project, filter_by, filter_value, year, month, week, day
),

ratings as (
    select
        id_project, '' as filter_by, cast(null as varchar) as filter_value,
        rating_sum, rating_n, requests
    from "__prep__"."int_tiledesk__ratings"
),

-- DuckDB would keep a copy of all messages
messages as not materialized (
    select
        messages.id_project,
        '' as filter_by,
        cast(null as varchar) as filter_value,
        messages.created_at,
        settings.as_of,
        messages.sender as label,
        cast(extract(year from make_timestamp(epoch_us(messages.created_at))) as integer) as year,
        cast(extract(month from make_timestamp(epoch_us(messages.created_at))) as integer) as month,
        cast(extract(day from make_timestamp(epoch_us(messages.created_at))) as integer) as day,
        cast(floor((extract(doy from make_timestamp(epoch_us(messages.created_at))) - 1 + 7 - extract(dow from make_timestamp(epoch_us(messages.created_at)))) / 7) as integer) as week
    from "__prep__"."stg_tiledesk__messages" as messages
    cross join settings
),

answers as (
    select
        messages.id_project,
        '' as filter_by,
        cast(null as varchar) as filter_value,
        messages.created_at,
        settings.as_of,
        messages.attributes->>'_answerid' as label
    from "__prep__"."stg_tiledesk__messages" as messages
    cross join settings
),

visitors as (
    select
        users.id_project,
        '' as filter_by,
        cast(null as varchar) as filter_value,
        users.created_at,
        settings.as_of,
        cast(extract(year from make_timestamp(epoch_us(users.created_at))) as integer) as year,
        cast(extract(month from make_timestamp(epoch_us(users.created_at))) as integer) as month,
        cast(extract(day from make_timestamp(epoch_us(users.created_at))) as integer) as day,
        cast(floor((extract(doy from make_timestamp(epoch_us(users.created_at))) - 1 + 7 - extract(dow from make_timestamp(epoch_us(users.created_at)))) / 7) as integer) as week
    from "__prep__"."stg_tiledesk__project_users" as users
    cross join settings
    where users.role in ('guest', 'user') and users.status = 'active'
),

events as (
    select
        events.id_project,
        '' as filter_by,
        cast(null as varchar) as filter_value,
        events.created_at,
        events.name as label,
        cast(extract(year from make_timestamp(epoch_us(events.created_at))) as integer) as year,
        cast(extract(month from make_timestamp(epoch_us(events.created_at))) as integer) as month,
        cast(extract(day from make_timestamp(epoch_us(events.created_at))) as integer) as day
        from "__prep__"."stg_tiledesk__events" as events
    where events.name is distinct from 'typing.start'
)


select
    id_project,
    'requests/count' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/aggregate/status' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/aggregate/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(requests) as bigint) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('', 'department_id', 'participant', 'channel')
group by id_project, filter_by, filter_value, year, month, day
union all

select
    id_project,
    'requests/aggregate/status/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    status as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('', 'department_id', 'participant')
group by id_project, filter_by, filter_value, year, month, day, status
union all

select
    id_project,
    'requests/aggregate/month' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(requests) as bigint) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('', 'department_id')
group by id_project, filter_by, filter_value, year, month
union all

select
    id_project,
    'requests/aggregate/week' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    week as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(requests) as bigint) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month, week
union all

select
    id_project,
    'requests/aggregate/hours' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    hour as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value, hour
union all

select
    id_project,
    'requests/aggregate/dayoftheweek/hours' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    weekday as weekday,
    hour as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value, weekday, hour
union all

select
    id_project,
    'requests/waiting' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(avg(waiting_time) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/waiting/day/last' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(avg(waiting_time) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '24 hours'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/waiting/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(waiting_time_sum) as double precision) / nullif(sum(waiting_time_n), 0) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('', 'department_id', 'participant', 'channel')
group by id_project, filter_by, filter_value, year, month, day
union all

select
    id_project,
    'requests/waiting/month' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(waiting_time_sum) as double precision) / nullif(sum(waiting_time_n), 0) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month
union all

select
    id_project,
    'publicanalytics/waiting/current' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(avg(waiting_time) as double precision) as value,
    count(*) as n
from all_requests
where filter_by in ('') and created_at >= as_of - interval '4 hours'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/duration' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(avg(duration) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/duration/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(duration_sum) as double precision) / nullif(sum(duration_n), 0) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('', 'department_id', 'participant', 'channel')
group by id_project, filter_by, filter_value, year, month, day
union all

select
    id_project,
    'requests/duration/month' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(avg(duration) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value, year, month
union all

select
    id_project,
    'requests/satisfaction' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(rating_sum) as double precision) / nullif(sum(rating_n), 0) as double precision) as value,
    cast(sum(requests) as bigint) as n
from ratings
where filter_by in ('')
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/satisfaction/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(rating_sum) as double precision) / nullif(sum(rating_n), 0) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('', 'department_id', 'participant', 'channel')
group by id_project, filter_by, filter_value, year, month, day
union all

select
    id_project,
    'requests/satisfaction/month' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(cast(sum(rating_sum) as double precision) / nullif(sum(rating_n), 0) as double precision) as value,
    cast(sum(requests) as bigint) as n
from requests_by_day
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month
union all

select
    id_project,
    'requests/hasBot/count' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from (select * from requests where has_bot) as with_bot
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'requests/aggregate/hasBot/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    has_bot as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('', 'department_id', 'channel')
group by id_project, filter_by, filter_value, year, month, day, has_bot
union all

select
    id_project,
    'requests/aggregate/sourcePage' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    label as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from requests
where filter_by in ('', 'department_id') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value, label
union all

select
    id_project,
    'requests/aggregate/attributes/_answerid' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    label as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from answers
where filter_by in ('') and created_at >= as_of - interval '7 days'
group by id_project, filter_by, filter_value, label
union all

select
    id_project,
    'messages/count' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from messages
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'messages/aggregate/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from messages
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month, day
union all

select
    id_project,
    'messages/aggregate/month' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from messages
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month
union all

select
    id_project,
    'messages/aggregate/week' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    week as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from messages
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month, week
union all

select
    id_project,
    'messages/aggregate/sender' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    label as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from messages
where filter_by in ('') and created_at >= as_of - interval '7 days'
group by id_project, filter_by, filter_value, label
union all

select
    id_project,
    'project_users/count' as endpoint,
    filter_by,
    filter_value,
    cast(null as integer) as year,
    cast(null as integer) as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from visitors
where filter_by in ('') and created_at >= as_of - interval '30 days'
group by id_project, filter_by, filter_value
union all

select
    id_project,
    'project_users/aggregate/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from visitors
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month, day
union all

select
    id_project,
    'project_users/aggregate/month' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from visitors
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month
union all

select
    id_project,
    'project_users/aggregate/week' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    week as week,
    cast(null as integer) as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    cast(null as varchar) as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from visitors
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month, week
union all

select
    id_project,
    'events/aggregate/day' as endpoint,
    filter_by,
    filter_value,
    year as year,
    month as month,
    cast(null as integer) as week,
    day as day,
    cast(null as integer) as weekday,
    cast(null as integer) as hour,
    cast(null as bigint) as status,
    cast(null as boolean) as has_bot,
    label as label,
    cast(count(*) as double precision) as value,
    count(*) as n
from events
where filter_by in ('')
group by id_project, filter_by, filter_value, year, month, day, label

-- model: __marts__.tiledesk__sla
-- One row for each conversation and target: met, breached, or still running.
--
-- Tiledesk has no targets of its own; they are variables of this package. Priority is the one that a
-- conversation has now. A target of the next reply looks at the longest wait of the conversation.
with

conversations as (
    select conversations.*, settings.sla_in_business_time, settings.sla_first_reply_seconds,
        settings.sla_next_reply_seconds, settings.sla_resolution_seconds
    from "__marts__"."tiledesk__conversations" as conversations
    cross join "__prep__"."int_tiledesk__settings" as settings
    where conversations.is_real
),

as_of as (
    select id_project, max(happened_at) as as_of from "__prep__"."int_tiledesk__business_clock" group by id_project
),

as_of_clock as (
    select as_of.id_project, as_of.as_of, clock.business_seconds
    from as_of
    inner join "__prep__"."int_tiledesk__business_clock" as clock
        on clock.id_project = as_of.id_project and clock.happened_at = as_of.as_of
),

measures as (
    select
        conversation_id, id_project, 'first_reply' as target, sla_first_reply_seconds as target_seconds,
        first_customer_at as started_at,
        case when sla_in_business_time then first_reply_business_seconds else first_reply_seconds end
            as taken_seconds,
        first_reply_seconds is not null as is_done,
        opened_by = 'customer' and first_customer_at is not null as applies,
        sla_in_business_time, is_open
    from conversations
    union all
    select
        conversations.conversation_id, conversations.id_project, 'next_reply', conversations.sla_next_reply_seconds,
        min(responses.asked_at) filter (where responses.answered_at is null),
        max(case when conversations.sla_in_business_time then responses.wait_business_seconds else responses.wait_seconds end),
        count(*) filter (where responses.answered_at is null) = 0,
        conversations.opened_by = 'customer',
        conversations.sla_in_business_time, conversations.is_open
    from conversations
    inner join "__marts__"."tiledesk__responses" as responses
        on responses.conversation_id = conversations.conversation_id and responses.turn_number > 1
    group by conversations.conversation_id, conversations.id_project, conversations.sla_next_reply_seconds,
        conversations.opened_by, conversations.sla_in_business_time, conversations.is_open
    union all
    select
        conversation_id, id_project, 'resolution', sla_resolution_seconds,
        created_at,
        case when sla_in_business_time then full_resolution_business_seconds else full_resolution_seconds end,
        full_resolution_seconds is not null, true,
        sla_in_business_time, is_open
    from conversations
),

running as (
    select
        measures.*,
        case when not measures.is_done and measures.is_open then
            case when measures.sla_in_business_time
                then as_of_clock.business_seconds - started_clock.business_seconds
                else cast((epoch_us(as_of_clock.as_of) - epoch_us(measures.started_at)) / 1e6 as decimal(18, 3)) end
        end as running_seconds
    from measures
    left join as_of_clock on as_of_clock.id_project = measures.id_project
    left join "__prep__"."int_tiledesk__business_clock" as started_clock
        on started_clock.id_project = measures.id_project and started_clock.happened_at = measures.started_at
    where measures.applies and measures.target_seconds is not null
)

select
    running.conversation_id,
    running.id_project,
    running.target,
    running.target_seconds,
    running.taken_seconds,
    running.running_seconds,
    case
        when coalesce(running.taken_seconds, 0) > running.target_seconds
            or coalesce(running.running_seconds, 0) > running.target_seconds then 'breached'
        when running.is_done then 'met'
        when running.is_open then 'running'
        else 'not measured'
    end as result,
    conversations.created_on,
    conversations.department_id,
    conversations.department,
    conversations.channel,
    conversations.priority
from running
inner join conversations on conversations.conversation_id = running.conversation_id

-- model: __marts__.tiledesk__tags_daily
-- One row for each local day and tag; a conversation with several tags counts for each of them.
-- Tags are those that a conversation has now.


with

conversations as (
    select * from (
        select conversations.*, tags.tag
        from "__marts__"."tiledesk__conversations" as conversations
        inner join (
            select distinct parent_id, tag from "__prep__"."stg_tiledesk__requests__tags" where tag is not null
        ) as tags on tags.parent_id = conversations.conversation_id
    ) as tagged where is_real
),

messages as (
    select * from (
        select messages.*, tags.tag
        from "__marts__"."tiledesk__messages" as messages
        inner join (
            select distinct parent_id, tag from "__prep__"."stg_tiledesk__requests__tags" where tag is not null
        ) as tags on tags.parent_id = messages.conversation_id
    ) as tagged where is_real
),

events as (
    select
        events.kind,
        events.happened_on as day,
        conversations.*
    from "__prep__"."int_tiledesk__events" as events
    inner join conversations on conversations.conversation_id = events.conversation_id
),

by_creation as (
    select
        id_project, created_on as day, tag,
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
        avg(first_reply_seconds) as created_first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as created_first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as created_first_reply_seconds_p90,
    count(first_reply_seconds) as created_first_reply_seconds_n,
        avg(first_reply_business_seconds) as created_first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as created_first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as created_first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as created_first_reply_business_seconds_n,
        avg(full_resolution_seconds) as created_full_resolution_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_seconds as double precision)) as created_full_resolution_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_seconds as double precision)) as created_full_resolution_seconds_p90,
    count(full_resolution_seconds) as created_full_resolution_seconds_n,
        avg(full_resolution_business_seconds) as created_full_resolution_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_business_seconds as double precision)) as created_full_resolution_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_business_seconds as double precision)) as created_full_resolution_business_seconds_p90,
    count(full_resolution_business_seconds) as created_full_resolution_business_seconds_n
        
    from conversations
    group by id_project, created_on, tag
),

by_reply as (
    select
        id_project, first_replied_on as day, tag,
        count(*) as first_replies,
        avg(first_reply_seconds) as first_reply_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_seconds as double precision)) as first_reply_seconds_p90,
    count(first_reply_seconds) as first_reply_seconds_n,
        avg(first_reply_business_seconds) as first_reply_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(first_reply_business_seconds as double precision)) as first_reply_business_seconds_p90,
    count(first_reply_business_seconds) as first_reply_business_seconds_n
    from conversations
    where first_replied_on is not null
    group by id_project, first_replied_on, tag
),

by_close as (
    select
        id_project, closed_on as day, tag,
        count(*) as closed_conversations,
        count(rating) as closed_ratings,
        count(*) filter (where is_rating_good) as closed_good_ratings,
        sum(rating) as closed_rating_sum,
        sum(handle_seconds) as handle_seconds,
        avg(full_resolution_seconds) as full_resolution_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_seconds as double precision)) as full_resolution_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_seconds as double precision)) as full_resolution_seconds_p90,
    count(full_resolution_seconds) as full_resolution_seconds_n,
        avg(full_resolution_business_seconds) as full_resolution_business_seconds_avg,
    percentile_cont(0.5) within group (order by cast(full_resolution_business_seconds as double precision)) as full_resolution_business_seconds_median,
    percentile_cont(0.9) within group (order by cast(full_resolution_business_seconds as double precision)) as full_resolution_business_seconds_p90,
    count(full_resolution_business_seconds) as full_resolution_business_seconds_n
    from conversations
    where closed_on is not null
    group by id_project, closed_on, tag
),

by_event as (
    select
        id_project, day, tag,
        count(*) filter (where kind = 'closed') as closes,
        count(*) filter (where kind = 'reopened') as reopens
    from events
    group by id_project, day, tag
),

by_message as (
    select
        id_project, created_on as day, tag,
        count(*) as messages,
        count(*) filter (where author = 'customer') as customer_messages,
        count(*) filter (where author = 'agent') as agent_messages,
        count(*) filter (where author = 'bot') as bot_messages
    from messages
    where is_public
    group by id_project, created_on, tag
),

spine as (
    select id_project, day, tag from by_creation
    union
    select id_project, day, tag from by_reply
    union
    select id_project, day, tag from by_close
    union
    select id_project, day, tag from by_event
    union
    select id_project, day, tag from by_message
    
    
)

select
    spine.id_project,
    spine.day,
    spine.tag,
    cast(spine.day - cast(mod(cast(extract(isodow from spine.day) as integer) - settings.week_start + 7, 7) as integer) as date) as week,
    cast(date_trunc('month', spine.day) as date) as month,
    coalesce(by_creation.created_conversations, 0) as created_conversations,
    coalesce(by_creation.created_by_members, 0) as created_by_members,
    coalesce(by_creation.created_abandoned, 0) as created_abandoned,
    coalesce(by_creation.created_unanswered, 0) as created_unanswered,
    coalesce(by_creation.created_reopened, 0) as created_reopened,
    coalesce(by_creation.created_bot_took_part, 0) as created_bot_took_part,
    coalesce(by_creation.created_contained, 0) as created_contained,
    coalesce(by_creation.created_durably_contained, 0) as created_durably_contained,
    coalesce(by_creation.created_handed_over, 0) as created_handed_over,
    coalesce(by_creation.created_one_touch, 0) as created_one_touch,
    coalesce(by_creation.created_ratings, 0) as created_ratings,
    coalesce(by_creation.created_good_ratings, 0) as created_good_ratings,
    coalesce(by_reply.first_replies, 0) as first_replies,
    coalesce(by_close.closed_conversations, 0) as closed_conversations,
    coalesce(by_close.closed_ratings, 0) as closed_ratings,
    coalesce(by_close.closed_good_ratings, 0) as closed_good_ratings,
    coalesce(by_event.closes, 0) as closes,
    coalesce(by_event.reopens, 0) as reopens,
    coalesce(by_message.messages, 0) as messages,
    coalesce(by_message.customer_messages, 0) as customer_messages,
    coalesce(by_message.agent_messages, 0) as agent_messages,
    coalesce(by_message.bot_messages, 0) as bot_messages,
    by_creation.created_rating_sum,
    by_close.closed_rating_sum,
    by_close.handle_seconds,
    by_creation.created_first_reply_seconds_avg,
    by_creation.created_first_reply_seconds_median,
    by_creation.created_first_reply_seconds_p90,
    coalesce(by_creation.created_first_reply_seconds_n, 0) as created_first_reply_seconds_n,
    by_creation.created_first_reply_business_seconds_avg,
    by_creation.created_first_reply_business_seconds_median,
    by_creation.created_first_reply_business_seconds_p90,
    coalesce(by_creation.created_first_reply_business_seconds_n, 0) as created_first_reply_business_seconds_n,
    by_creation.created_full_resolution_seconds_avg,
    by_creation.created_full_resolution_seconds_median,
    by_creation.created_full_resolution_seconds_p90,
    coalesce(by_creation.created_full_resolution_seconds_n, 0) as created_full_resolution_seconds_n,
    by_creation.created_full_resolution_business_seconds_avg,
    by_creation.created_full_resolution_business_seconds_median,
    by_creation.created_full_resolution_business_seconds_p90,
    coalesce(by_creation.created_full_resolution_business_seconds_n, 0) as created_full_resolution_business_seconds_n,
    by_reply.first_reply_seconds_avg,
    by_reply.first_reply_seconds_median,
    by_reply.first_reply_seconds_p90,
    coalesce(by_reply.first_reply_seconds_n, 0) as first_reply_seconds_n,
    by_reply.first_reply_business_seconds_avg,
    by_reply.first_reply_business_seconds_median,
    by_reply.first_reply_business_seconds_p90,
    coalesce(by_reply.first_reply_business_seconds_n, 0) as first_reply_business_seconds_n,
    by_close.full_resolution_seconds_avg,
    by_close.full_resolution_seconds_median,
    by_close.full_resolution_seconds_p90,
    coalesce(by_close.full_resolution_seconds_n, 0) as full_resolution_seconds_n,
    by_close.full_resolution_business_seconds_avg,
    by_close.full_resolution_business_seconds_median,
    by_close.full_resolution_business_seconds_p90,
    coalesce(by_close.full_resolution_business_seconds_n, 0) as full_resolution_business_seconds_n
from spine
cross join "__prep__"."int_tiledesk__settings" as settings
left join by_creation
    on by_creation.id_project = spine.id_project and by_creation.day = spine.day and by_creation.tag is not distinct from spine.tag
left join by_reply
    on by_reply.id_project = spine.id_project and by_reply.day = spine.day and by_reply.tag is not distinct from spine.tag
left join by_close
    on by_close.id_project = spine.id_project and by_close.day = spine.day and by_close.tag is not distinct from spine.tag
left join by_event
    on by_event.id_project = spine.id_project and by_event.day = spine.day and by_event.tag is not distinct from spine.tag
left join by_message
    on by_message.id_project = spine.id_project and by_message.day = spine.day and by_message.tag is not distinct from spine.tag

-- model: __marts__.tiledesk__transcripts
-- One row for each conversation with its public dialogue in order, for search and language models.
with

texts as (
    select _id as message_id, text, type from "__prep__"."stg_tiledesk__messages" as messages
),

lines as (
    select
        messages.conversation_id,
        messages.message_id,
        messages.created_at,
        messages.author || ': ' || coalesce(nullif(texts.text, ''), '[' || texts.type || ']') as line
    from "__prep__"."int_tiledesk__messages" as messages
    inner join texts on texts.message_id = messages.message_id
    where messages.is_public
),

transcripts as (
    select
        conversation_id,
        count(*) as messages,
        string_agg(line, chr(10) order by created_at, message_id) as transcript
    from lines
    group by conversation_id
)

select
    conversations.conversation_id,
    conversations.id_project,
    conversations.created_at,
    conversations.department,
    conversations.channel,
    conversations.language,
    conversations.is_real,
    coalesce(transcripts.messages, 0) as messages,
    transcripts.transcript
from "__marts__"."tiledesk__conversations" as conversations
left join transcripts on transcripts.conversation_id = conversations.conversation_id
