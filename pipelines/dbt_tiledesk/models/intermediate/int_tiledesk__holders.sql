{{ keep_unchanged() }}
{{ config(post_hook="{{ index_of_conversations() }}") }}
-- Which agent held a conversation, and when.
--
-- An agent takes a conversation over when the server assigns it to them (a message says so) or with
-- their first answer. The activity log adds assignments that no message tells. It keeps 30 days, and
-- many servers write none, so no figure depends on it alone.
with

requests as (
    select _id as conversation_id, id_project, lead, created_at
    from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
),

assigned as (
    select
        conversation_id,
        -- an assignment to several members names them all; the first one leads
        split_part(label_member_ids, ',', 1) as agent_id,
        created_at as from_at,
        1 as precedence
    from {{ ref('int_tiledesk__messages') }}
    where label_key = 'TOUCHING_OPERATOR' and label_member_ids is not null
),

answered as (
    select conversation_id, sender as agent_id, created_at as from_at, 3 as precedence
    from {{ ref('int_tiledesk__messages') }}
    where is_public and author = 'agent'
),

logged as (
    select target_id as conversation_id, related_id as agent_id, created_at as from_at, 2 as precedence
    from {{ of_changed('stg_tiledesk__activities', 'activities', 'target_id') }}
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
            select 1 from {{ ref('int_tiledesk__excluded_agents') }} as excluded
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
    left join {{ ref('int_tiledesk__projects') }} as projects on projects.id_project = changes.id_project
    where agent_before is distinct from agent_id
)

select * from holders
