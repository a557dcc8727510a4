-- One row for each local day and member of the team who did something on it.
with

conversations as (
    select * from {{ ref('tiledesk__conversations') }} where is_real
),

written as (
    select
        messages.id_project,
        messages.created_on as day,
        messages.author_id as agent_id,
        count(*) as messages,
        count(distinct messages.conversation_id) as conversations
    from {{ ref('tiledesk__messages') }} as messages
    where messages.is_real and messages.is_public and messages.author = 'agent'
    group by messages.id_project, messages.created_on, messages.author_id
),

first_messages as (
    select conversation_id, author_id as agent_id,
        row_number() over (partition by conversation_id order by created_at, message_id) as place
    from {{ ref('tiledesk__messages') }}
    where is_public and author = 'agent'
),

first_replies as (
    select
        conversations.id_project,
        conversations.first_replied_on as day,
        first_messages.agent_id,
        count(*) as first_replies,
        {{ percentiles('conversations.first_reply_seconds', 'first_reply_seconds') }},
        {{ percentiles('conversations.first_reply_business_seconds', 'first_reply_business_seconds') }}
    from conversations
    inner join first_messages
        on first_messages.conversation_id = conversations.conversation_id and first_messages.place = 1
    group by conversations.id_project, conversations.first_replied_on, first_messages.agent_id
),

replies as (
    select
        responses.id_project,
        responses.answered_on as day,
        responses.agent_id,
        count(*) as replies,
        {{ percentiles('responses.wait_seconds', 'reply_seconds') }}
    from {{ ref('tiledesk__responses') }} as responses
    inner join conversations on conversations.conversation_id = responses.conversation_id
    where responses.answered_at is not null
    group by 1, 2, 3
),

holders as (
    select
        holders.*,
        conversations.closed_on,
        conversations.rating,
        conversations.is_rating_good,
        lead(holders.from_on) over (
            partition by holders.conversation_id order by holders.holder_number
        ) as handed_on_day
    from {{ ref('int_tiledesk__holders') }} as holders
    inner join conversations on conversations.conversation_id = holders.conversation_id
),

taken_over as (
    select id_project, from_on as day, agent_id,
        count(*) as taken_over
    from holders
    group by 1, 2, 3
),

handed_on as (
    select id_project, handed_on_day as day, agent_id,
        count(*) as handed_on
    from holders
    where handed_on_day is not null
    group by 1, 2, 3
),

-- a rating belongs to the agent who held the conversation at its end
closed as (
    select id_project, closed_on as day, agent_id,
        count(*) as closed_conversations,
        count(rating) as ratings,
        count(*) filter (where is_rating_good) as good_ratings,
        sum(rating) as rating_sum
    from holders
    where handed_on_day is null and closed_on is not null
    group by 1, 2, 3
),

handled as (
    select handle.id_project, conversations.closed_on as day, handle.agent_id,
        sum(handle.handle_seconds) as handle_seconds
    from {{ ref('int_tiledesk__handle_time') }} as handle
    inner join conversations on conversations.conversation_id = handle.conversation_id
    where conversations.closed_on is not null
    group by 1, 2, 3
),

spine as (
    select id_project, day, agent_id from written
    union
    select id_project, day, agent_id from first_replies
    union
    select id_project, day, agent_id from replies
    union
    select id_project, day, agent_id from taken_over
    union
    select id_project, day, agent_id from handed_on
    union
    select id_project, day, agent_id from closed
    union
    select id_project, day, agent_id from handled
)

select
    spine.id_project,
    spine.day,
    spine.agent_id,
    coalesce(members.agent_name, spine.agent_id) as agent_name,
    coalesce(members.is_removed, true) as is_removed,
    coalesce(written.conversations, 0) as conversations,
    coalesce(written.messages, 0) as messages,
    coalesce(first_replies.first_replies, 0) as first_replies,
    first_replies.first_reply_seconds_avg,
    first_replies.first_reply_seconds_median,
    first_replies.first_reply_seconds_p90,
    coalesce(first_replies.first_reply_seconds_n, 0) as first_reply_seconds_n,
    first_replies.first_reply_business_seconds_avg,
    first_replies.first_reply_business_seconds_median,
    first_replies.first_reply_business_seconds_p90,
    coalesce(first_replies.first_reply_business_seconds_n, 0) as first_reply_business_seconds_n,
    coalesce(replies.replies, 0) as replies,
    replies.reply_seconds_avg,
    replies.reply_seconds_median,
    replies.reply_seconds_p90,
    coalesce(replies.reply_seconds_n, 0) as reply_seconds_n,
    coalesce(taken_over.taken_over, 0) as taken_over,
    coalesce(handed_on.handed_on, 0) as handed_on,
    coalesce(closed.closed_conversations, 0) as closed_conversations,
    handled.handle_seconds,
    coalesce(closed.ratings, 0) as ratings,
    coalesce(closed.good_ratings, 0) as good_ratings,
    closed.rating_sum
from spine
left join {{ ref('int_tiledesk__members') }} as members
    on members.id_project = spine.id_project and members.agent_id = spine.agent_id
{% for part in ['written', 'first_replies', 'replies', 'taken_over', 'handed_on', 'closed', 'handled'] -%}
left join {{ part }}
    on {{ part }}.id_project = spine.id_project
    and {{ part }}.day = spine.day
    and {{ part }}.agent_id = spine.agent_id
{% endfor %}
