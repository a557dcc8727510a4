{{ keep_unchanged() }}
{{ config(post_hook="{{ index_of_conversations() }}") }}
-- The time that each agent held each conversation while it was open, of spells that have ended.
select
    holders.conversation_id,
    holders.id_project,
    holders.agent_id,
    holders.holder_number,
    holders.from_at,
    sum({{ seconds(
        'greatest(holders.from_at, spells.opened_at)',
        'least(coalesce(holders.to_at, spells.closed_at), spells.closed_at)'
    ) }}) as handle_seconds
from {{ of_changed('int_tiledesk__holders', 'holders') }}
inner join {{ of_changed('int_tiledesk__open_spells', 'spells') }}
    on spells.conversation_id = holders.conversation_id
    and spells.closed_at is not null
    and spells.closed_at > holders.from_at
    and (holders.to_at is null or holders.to_at > spells.opened_at)
group by holders.conversation_id, holders.id_project, holders.agent_id, holders.holder_number, holders.from_at
