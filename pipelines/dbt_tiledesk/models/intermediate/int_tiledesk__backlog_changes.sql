{{ keep_unchanged() }}
{{ config(post_hook="{{ index_of_conversations() }}") }}
-- The days on which each conversation begins and ends to be open, and to wait for a first answer.
with

conversations as (
    select conversation_id, id_project, department_id, department, first_agent_at, first_replied_on
    from {{ of_changed('tiledesk__conversations', 'conversations') }}
    where is_real
)

select
    conversations.conversation_id,
    conversations.id_project,
    conversations.department_id,
    conversations.department,
    spells.opened_on as day,
    1 as opened,
    0 as closed,
    case when not spells.is_reopened then 1 else 0 end as waiting
from {{ of_changed('int_tiledesk__open_spells', 'spells') }}
inner join conversations on conversations.conversation_id = spells.conversation_id
union all
select
    conversations.conversation_id,
    conversations.id_project,
    conversations.department_id,
    conversations.department,
    spells.closed_on as day,
    0 as opened,
    1 as closed,
    0 as waiting
from {{ of_changed('int_tiledesk__open_spells', 'spells') }}
inner join conversations on conversations.conversation_id = spells.conversation_id
where spells.closed_at is not null
union all
-- a conversation stops waiting for a first answer when an agent writes or when it is first closed
select
    conversations.conversation_id,
    conversations.id_project,
    conversations.department_id,
    conversations.department,
    case
        when conversations.first_agent_at > spells.closed_at or conversations.first_agent_at is null
            then spells.closed_on
        else conversations.first_replied_on
    end as day,
    0 as opened,
    0 as closed,
    -1 as waiting
from {{ of_changed('int_tiledesk__open_spells', 'spells') }}
inner join conversations on conversations.conversation_id = spells.conversation_id
where spells.spell_number = 1
    and (conversations.first_agent_at is not null or spells.closed_at is not null)
