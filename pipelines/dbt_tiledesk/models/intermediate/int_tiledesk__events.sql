{{ keep_unchanged() }}
{{ config(post_hook="{{ index_of_conversations() }}") }}
-- What happened to each conversation, in order: opened, closed, reopened.
--
-- The server writes a message for each close and reopen. Closing a closed conversation writes the
-- message again, so a close counts only after an opening or a reopen, and a reopen only after a close.
with

conversations as (
    select _id as conversation_id, id_project, status, created_at, closed_at
    from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
),

labels as (
    select
        conversation_id,
        case label_key when 'CHAT_CLOSED' then 'closed' else 'reopened' end as kind,
        created_at as happened_at,
        message_id as event_id
    from {{ ref('int_tiledesk__messages') }}
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
left join {{ ref('int_tiledesk__projects') }} as projects on projects.id_project = conversations.id_project
where ordered.kind = 'opened'
    or (ordered.kind = 'closed' and ordered.kind_before in ('opened', 'reopened'))
    or (ordered.kind = 'reopened' and ordered.kind_before = 'closed')
