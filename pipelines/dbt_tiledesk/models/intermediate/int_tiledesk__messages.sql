{{ keep_nothing() }}
-- Messages of conversations, with who wrote them and whether the customer can read them.
with

messages as (
    select * from {{ of_changed('stg_tiledesk__messages', 'messages', 'recipient', 'request_id') }}
),

requests as (
    select _id, id_project, request_id, lead, department, channel_name
    from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
),

leads as (
    select _id, lead_id from {{ of_changed('stg_tiledesk__leads', 'leads', '_id', 'lead') }}
),

excluded as (
    select user_id from {{ ref('int_tiledesk__excluded_agents') }}
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
