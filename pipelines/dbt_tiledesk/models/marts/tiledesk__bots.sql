-- One row for each local day and bot. Published versions of a bot count as the bot.
with

bots as (
    select
        id_project,
        _id as version_id,
        coalesce(root_id, _id) as bot_id,
        name
    from {{ ref('stg_tiledesk__bots') }}
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
    from {{ ref('tiledesk__messages') }} as messages
    left join bots
        on bots.id_project = messages.id_project and 'bot_' || bots.version_id = messages.author_id
    where messages.author = 'bot' and messages.is_public and messages.is_real
    group by 1, 2, 3
),

asked as (
    select conversation_id, sum(answered) as answered_questions, sum(unanswered) as unanswered_questions
    from (
        select requests._id as conversation_id, 1 as answered, 0 as unanswered
        from {{ ref('stg_tiledesk__answered_questions') }} as questions
        inner join {{ ref('stg_tiledesk__requests') }} as requests on requests.request_id = questions.request_id
        union all
        select requests._id, 0, 1
        from {{ ref('stg_tiledesk__unanswered_questions') }} as questions
        inner join {{ ref('stg_tiledesk__requests') }} as requests on requests.request_id = questions.request_id
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
inner join {{ ref('tiledesk__conversations') }} as conversations
    on conversations.conversation_id = written.conversation_id
left join names on names.id_project = written.id_project and names.bot_id = written.bot_id
left join asked on asked.conversation_id = written.conversation_id
group by 1, 2, 3, 4
