{{ keep_nothing() }}
-- What was written in each conversation, counted.
with

messages as (
    select
        messages.*,
        lag(case when is_public and author in ('customer', 'agent') then author end) over (
            partition by conversation_id, is_public and author in ('customer', 'agent')
            order by created_at, message_id
        ) as author_before
    from {{ ref('int_tiledesk__messages') }} as messages
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
