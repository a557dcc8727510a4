{{ keep_unchanged() }}
{{ config(post_hook=["{{ primary_key('conversation_id') }}", "{{ of_conversation() }}"]) }}
-- One row for each conversation with its public dialogue in order, for search and language models.
with

texts as (
    select _id as message_id, text, type from {{ of_changed('stg_tiledesk__messages', 'messages', 'recipient', 'request_id') }}
),

lines as (
    select
        messages.conversation_id,
        messages.message_id,
        messages.created_at,
        messages.author || ': ' || coalesce(nullif(texts.text, ''), '[' || texts.type || ']') as line
    from {{ ref('int_tiledesk__messages') }} as messages
    inner join texts on texts.message_id = messages.message_id
    where messages.is_public
),

transcripts as (
    select
        conversation_id,
        count(*) as messages,
        {{ joined_text('line', "chr(10)", 'created_at, message_id') }} as transcript
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
from {{ of_changed('tiledesk__conversations', 'conversations') }}
left join transcripts on transcripts.conversation_id = conversations.conversation_id
