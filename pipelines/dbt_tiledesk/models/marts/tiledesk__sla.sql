{{ keep_unchanged() }}
{{ config(post_hook=["{{ primary_key('conversation_id, target') }}", "{{ of_conversation() }}"]) }}
-- One row for each conversation and target: met, breached, or still running.
--
-- Tiledesk has no targets of its own; they are variables of this package. Priority is the one that a
-- conversation has now. A target of the next reply looks at the longest wait of the conversation.
with

conversations as (
    select conversations.*, settings.sla_in_business_time, settings.sla_first_reply_seconds,
        settings.sla_next_reply_seconds, settings.sla_resolution_seconds
    from {{ of_changed('tiledesk__conversations', 'conversations') }}
    cross join {{ ref('int_tiledesk__settings') }} as settings
    where conversations.is_real
),

as_of as (
    select id_project, max(happened_at) as as_of from {{ ref('int_tiledesk__business_clock') }} group by id_project
),

as_of_clock as (
    select as_of.id_project, as_of.as_of, clock.business_seconds
    from as_of
    inner join {{ ref('int_tiledesk__business_clock') }} as clock
        on clock.id_project = as_of.id_project and clock.happened_at = as_of.as_of
),

measures as (
    select
        conversation_id, id_project, 'first_reply' as target, sla_first_reply_seconds as target_seconds,
        first_customer_at as started_at,
        case when sla_in_business_time then first_reply_business_seconds else first_reply_seconds end
            as taken_seconds,
        first_reply_seconds is not null as is_done,
        opened_by = 'customer' and first_customer_at is not null as applies,
        sla_in_business_time, is_open
    from conversations
    union all
    select
        conversations.conversation_id, conversations.id_project, 'next_reply', conversations.sla_next_reply_seconds,
        min(responses.asked_at) filter (where responses.answered_at is null),
        max(case when conversations.sla_in_business_time then responses.wait_business_seconds else responses.wait_seconds end),
        count(*) filter (where responses.answered_at is null) = 0,
        conversations.opened_by = 'customer',
        conversations.sla_in_business_time, conversations.is_open
    from conversations
    inner join {{ of_changed('tiledesk__responses', 'responses') }}
        on responses.conversation_id = conversations.conversation_id and responses.turn_number > 1
    group by conversations.conversation_id, conversations.id_project, conversations.sla_next_reply_seconds,
        conversations.opened_by, conversations.sla_in_business_time, conversations.is_open
    union all
    select
        conversation_id, id_project, 'resolution', sla_resolution_seconds,
        created_at,
        case when sla_in_business_time then full_resolution_business_seconds else full_resolution_seconds end,
        full_resolution_seconds is not null, true,
        sla_in_business_time, is_open
    from conversations
),

running as (
    select
        measures.*,
        case when not measures.is_done and measures.is_open then
            case when measures.sla_in_business_time
                then as_of_clock.business_seconds - started_clock.business_seconds
                else {{ seconds('measures.started_at', 'as_of_clock.as_of') }} end
        end as running_seconds
    from measures
    left join as_of_clock on as_of_clock.id_project = measures.id_project
    left join {{ ref('int_tiledesk__business_clock') }} as started_clock
        on started_clock.id_project = measures.id_project and started_clock.happened_at = measures.started_at
    where measures.applies and measures.target_seconds is not null
)

select
    running.conversation_id,
    running.id_project,
    running.target,
    running.target_seconds,
    running.taken_seconds,
    running.running_seconds,
    case
        when coalesce(running.taken_seconds, 0) > running.target_seconds
            or coalesce(running.running_seconds, 0) > running.target_seconds then 'breached'
        when running.is_done then 'met'
        when running.is_open then 'running'
        else 'not measured'
    end as result,
    conversations.created_on,
    conversations.department_id,
    conversations.department,
    conversations.channel,
    conversations.priority
from running
inner join conversations on conversations.conversation_id = running.conversation_id
