-- All ratings of each project together, as Tiledesk's own analytics count them.
select
    id_project,
    sum(rating) as rating_sum,
    count(rating) as rating_n,
    count(*) as requests
from {{ ref('stg_tiledesk__requests') }}
where preflight is not true
group by id_project
