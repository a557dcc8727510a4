{{ keep_unchanged() }}
{{ config(post_hook=["{{ primary_key('conversation_id, turn_number') }}", "{{ of_conversation() }}"]) }}
-- One row for each customer turn: what the customer wrote until an agent answered.
select
    responses.conversation_id,
    responses.id_project,
    cast(responses.turn_number as bigint) as turn_number,
    responses.asked_at,
    cast(responses.asked_at at time zone conversations.time_zone as date) as asked_on,
    responses.answered_at,
    cast(responses.answered_at at time zone conversations.time_zone as date) as answered_on,
    responses.answered_by as agent_id,
    responses.bot_answered_at,
    conversations.department_id,
    conversations.department,
    conversations.channel,
    conversations.is_real,
    {{ seconds('responses.asked_at', 'responses.answered_at') }} as wait_seconds,
    answered_clock.business_seconds - asked_clock.business_seconds as wait_business_seconds,
    {{ seconds('responses.asked_at', 'least(responses.bot_answered_at, responses.answered_at)') }}
        as wait_for_any_answer_seconds
from {{ ref('int_tiledesk__responses') }} as responses
inner join {{ of_changed('tiledesk__conversations', 'conversations') }}
    on conversations.conversation_id = responses.conversation_id
left join {{ ref('int_tiledesk__business_clock') }} as asked_clock
    on asked_clock.id_project = responses.id_project and asked_clock.happened_at = responses.asked_at
left join {{ ref('int_tiledesk__business_clock') }} as answered_clock
    on answered_clock.id_project = responses.id_project and answered_clock.happened_at = responses.answered_at
