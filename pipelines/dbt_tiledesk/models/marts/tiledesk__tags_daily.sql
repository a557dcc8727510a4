-- One row for each local day and tag; a conversation with several tags counts for each of them.
-- Tags are those that a conversation has now.
{% set conversations %}(
        select conversations.*, tags.tag
        from {{ ref('tiledesk__conversations') }} as conversations
        inner join (
            select distinct parent_id, tag from {{ ref('stg_tiledesk__requests__tags') }} where tag is not null
        ) as tags on tags.parent_id = conversations.conversation_id
    ) as tagged{% endset %}
{% set messages %}(
        select messages.*, tags.tag
        from {{ ref('tiledesk__messages') }} as messages
        inner join (
            select distinct parent_id, tag from {{ ref('stg_tiledesk__requests__tags') }} where tag is not null
        ) as tags on tags.parent_id = messages.conversation_id
    ) as tagged{% endset %}
{{ daily(['tag'], conversations, messages) }}
