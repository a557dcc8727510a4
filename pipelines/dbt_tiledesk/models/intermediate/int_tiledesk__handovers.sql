{{ keep_nothing() }}
-- When a bot gave each conversation to an agent, where that can be told.
--
-- The wait for an agent begins with the assignment after the bot's last words before the agent's
-- first message; where no assignment is known, with the customer's next message; else with the bot's
-- last message.
with

first_agent as (
    select conversation_id, min(created_at) as first_agent_at
    from {{ ref('int_tiledesk__messages') }}
    where is_public and author = 'agent'
    group by conversation_id
),

last_bot as (
    select bot.conversation_id, first_agent.first_agent_at, max(bot.created_at) as last_bot_at
    from {{ ref('int_tiledesk__messages') }} as bot
    inner join first_agent on first_agent.conversation_id = bot.conversation_id
    where bot.is_public and bot.author = 'bot' and bot.created_at < first_agent.first_agent_at
    group by bot.conversation_id, first_agent.first_agent_at
),

assigned as (
    select last_bot.conversation_id, min(holders.from_at) as assigned_at
    from last_bot
    inner join {{ of_changed('int_tiledesk__holders', 'holders') }}
        on holders.conversation_id = last_bot.conversation_id
        and holders.from_at >= last_bot.last_bot_at
        and holders.from_at < last_bot.first_agent_at
    group by last_bot.conversation_id
),

asked as (
    select last_bot.conversation_id, min(customer.created_at) as asked_at
    from last_bot
    inner join {{ ref('int_tiledesk__messages') }} as customer
        on customer.conversation_id = last_bot.conversation_id
        and customer.is_public and customer.author = 'customer'
        and customer.created_at >= last_bot.last_bot_at
        and customer.created_at < last_bot.first_agent_at
    group by last_bot.conversation_id
)

select
    last_bot.conversation_id,
    coalesce(assigned.assigned_at, asked.asked_at, last_bot.last_bot_at) as handed_over_at,
    {{ seconds('coalesce(assigned.assigned_at, asked.asked_at, last_bot.last_bot_at)', 'last_bot.first_agent_at') }}
        as first_reply_after_handover_seconds
from last_bot
left join assigned on assigned.conversation_id = last_bot.conversation_id
left join asked on asked.conversation_id = last_bot.conversation_id
