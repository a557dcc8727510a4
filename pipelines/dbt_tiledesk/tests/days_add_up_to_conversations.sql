select days.id_project
from (
    select id_project, sum(created_conversations) as conversations
    from {{ ref('tiledesk__daily') }}
    group by id_project
) as days
inner join (
    select id_project, count(*) as conversations
    from {{ ref('tiledesk__conversations') }}
    where is_real
    group by id_project
) as whole on whole.id_project = days.id_project
where days.conversations <> whole.conversations
