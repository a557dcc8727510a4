-- Spells of one conversation follow each other.
select first.conversation_id
from {{ ref('int_tiledesk__open_spells') }} as first
inner join {{ ref('int_tiledesk__open_spells') }} as second
    on second.conversation_id = first.conversation_id
    and second.spell_number = first.spell_number + 1
where first.closed_at is null or first.closed_at > second.opened_at
