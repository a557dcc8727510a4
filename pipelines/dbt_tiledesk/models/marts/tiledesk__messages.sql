{{ keep_unchanged() }}
{{ config(post_hook=["{{ primary_key('message_id') }}", "{{ index_of_conversations() }}", "{{ of_conversation() }}"]) }}
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
from {{ ref('int_tiledesk__messages') }} as messages
inner join {{ of_changed('tiledesk__conversations', 'conversations') }}
    on conversations.conversation_id = messages.conversation_id
left join {{ ref('int_tiledesk__members') }} as members
    on messages.author = 'agent'
    and members.id_project = messages.id_project and members.agent_id = messages.sender
left join {{ ref('stg_tiledesk__bots') }} as bots
    on messages.author = 'bot'
    and bots.id_project = messages.id_project and 'bot_' || bots._id = messages.sender
