-- Members of the team with the name that they have or last had; removed members stay.
with

versions as (
    select * from {{ ref('stg_tiledesk__project_users') }}
    where user_id is not null
),

ranked as (
    select
        versions.*,
        row_number() over (
            partition by id_project, user_id order by trashed nulls first, updated_at desc nulls last, _id
        ) as place
    from versions
)

select
    id_project,
    user_id as agent_id,
    nullif(trim(coalesce(firstname, '') || ' ' || coalesce(lastname, '')), '') as agent_name,
    role,
    coalesce(trashed, false) as is_removed
from ranked
where place = 1
