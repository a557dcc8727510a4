{{ keep_unchanged() }}
{{ config(post_hook="{{ index_of_conversations() }}") }}
-- The times during which each conversation was open: from its opening or a reopen to the next close.
with

events as (
    select
        conversation_id,
        id_project,
        kind,
        happened_at,
        happened_on,
        lead(happened_on) over (partition by conversation_id order by event_number) as next_on,
        lead(happened_at) over (partition by conversation_id order by event_number) as next_at
    from {{ of_changed('int_tiledesk__events', 'events') }}
)

select
    conversation_id,
    id_project,
    row_number() over (partition by conversation_id order by happened_at) as spell_number,
    happened_at as opened_at,
    happened_on as opened_on,
    next_at as closed_at,
    next_on as closed_on,
    kind = 'reopened' as is_reopened
from events
where kind in ('opened', 'reopened')
