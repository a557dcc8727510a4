{{ keep_nothing() }}
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
    from {{ ref('int_tiledesk__messages') }}
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
    from {{ ref('int_tiledesk__messages') }}
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
