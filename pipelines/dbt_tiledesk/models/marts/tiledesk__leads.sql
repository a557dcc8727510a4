{{ config(post_hook=["{{ primary_key('lead_id') }}"]) }}
-- One row for each lead, with its conversations.
with

conversations as (
    select
        lead_id,
        count(*) as conversations,
        count(*) filter (where is_open) as open_conversations,
        count(*) filter (where reopens > 0) as reopened_conversations,
        min(created_at) as first_conversation_at,
        max(created_at) as last_conversation_at,
        count(rating) as ratings,
        sum(rating) as rating_sum,
        avg(rating) as rating_avg
    from {{ ref('tiledesk__conversations') }}
    where is_real
    group by lead_id
),

firsts as (
    select
        lead_id,
        channel as first_channel,
        source_page as first_source_page,
        row_number() over (partition by lead_id order by created_at, conversation_id) as place
    from {{ ref('tiledesk__conversations') }}
    where is_real
)

select
    leads._id as lead_id,
    leads.id_project,
    leads.status,
    leads.status_name,
    leads.country,
    leads.created_at,
    firsts.first_channel,
    firsts.first_source_page,
    coalesce(conversations.conversations, 0) as conversations,
    coalesce(conversations.open_conversations, 0) as open_conversations,
    coalesce(conversations.reopened_conversations, 0) as reopened_conversations,
    conversations.first_conversation_at,
    conversations.last_conversation_at,
    coalesce(conversations.ratings, 0) as ratings,
    conversations.rating_sum,
    conversations.rating_avg
from {{ ref('stg_tiledesk__leads') }} as leads
left join conversations on conversations.lead_id = leads._id
left join firsts on firsts.lead_id = leads._id and firsts.place = 1
