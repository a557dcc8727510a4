{{ keep_unchanged() }}
{{ config(post_hook=["{{ primary_key('conversation_id') }}"]) }}
-- One row for each conversation, with every figure that belongs to it.
with

requests as (
    select * from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
),

leads as (
    select * from {{ of_changed('stg_tiledesk__leads', 'leads', '_id', 'lead') }}
),

members as (
    select id_project, agent_id from {{ ref('int_tiledesk__members') }}
),

departments as (
    select _id, id_project, name from {{ ref('stg_tiledesk__departments') }}
),

tags as (
    select parent_id as conversation_id, {{ joined_text('tag', "', '", 'position') }} as tags
    from {{ of_changed('stg_tiledesk__requests__tags', 'requests_tags', 'parent_id') }}
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
    from {{ of_changed('int_tiledesk__events', 'events') }}
    group by conversation_id
),

spells as (
    select
        conversation_id,
        sum({{ seconds('opened_at', 'closed_at') }}) as open_seconds,
        count(*) filter (where closed_at is null) > 0 as is_open
    from {{ of_changed('int_tiledesk__open_spells', 'open_spells') }}
    group by conversation_id
),

turns as (
    select
        conversation_id,
        count(*) as turns,
        count(answered_at) as answered_turns,
        sum({{ seconds('asked_at', 'answered_at') }}) as customer_wait_seconds
    from {{ ref('int_tiledesk__responses') }}
    group by conversation_id
),

holders as (
    select conversation_id, count(*) - 1 as transfers, count(*) > 0 as was_held
    from {{ of_changed('int_tiledesk__holders', 'holders') }}
    group by conversation_id
),

last_holders as (
    select conversation_id, agent_id as last_agent_id
    from {{ of_changed('int_tiledesk__holders', 'holders') }}
    where to_at is null
),

handled as (
    select conversation_id, sum(handle_seconds) as handle_seconds
    from {{ of_changed('int_tiledesk__handle_time', 'handle_time') }}
    group by conversation_id
),

clock as (
    select * from {{ ref('int_tiledesk__business_clock') }}
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
        {{ seconds('requests.created_at', 'requests.closed_at') }} * 1000 as tiledesk_duration_ms,
        requests.has_bot as tiledesk_has_bot,
        requests.updated_at
    from requests
    cross join {{ ref('int_tiledesk__settings') }} as settings
    left join {{ ref('int_tiledesk__projects') }} as projects on projects.id_project = requests.id_project
    left join leads on leads._id = requests.lead
    left join members on members.id_project = requests.id_project and members.agent_id = leads.lead_id
    left join departments
        on departments._id = requests.department and departments.id_project = requests.id_project
    left join tags on tags.conversation_id = requests._id
    left join {{ ref('int_tiledesk__conversation_messages') }} as messages on messages.conversation_id = requests._id
    left join events on events.conversation_id = requests._id
    left join spells on spells.conversation_id = requests._id
    left join turns on turns.conversation_id = requests._id
    left join holders on holders.conversation_id = requests._id
    left join last_holders on last_holders.conversation_id = requests._id
    left join handled on handled.conversation_id = requests._id
    left join {{ ref('int_tiledesk__handovers') }} as handovers on handovers.conversation_id = requests._id
),

measured as (
    select
        joined.*,
        case
            when opened_by = 'customer' and first_agent_at >= first_customer_at
                then {{ seconds('first_customer_at', 'first_agent_at') }}
        end as first_reply_seconds,
        case when first_closed_at >= created_at then {{ seconds('created_at', 'first_closed_at') }} end
            as first_resolution_seconds,
        case when closed_at >= created_at then {{ seconds('created_at', 'closed_at') }} end
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
            or {{ seconds('measured.first_closed_at', 'measured.first_reopened_at') }}
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
{% for name, column in [
    ('first_agent_clock', 'first_agent_at'), ('first_customer_clock', 'first_customer_at'),
    ('first_closed_clock', 'first_closed_at'), ('closed_clock', 'closed_at'), ('created_clock', 'created_at'),
] -%}
left join clock as {{ name }}
    on {{ name }}.id_project = measured.id_project and {{ name }}.happened_at = measured.{{ column }}
{% endfor %}
