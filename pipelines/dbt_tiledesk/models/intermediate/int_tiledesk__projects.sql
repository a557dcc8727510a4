-- Each project with the time zone and the operating hours that its figures are counted in.
with

seen as (
    select id_project from {{ ref('stg_tiledesk__requests') }}
    union
    select _id as id_project from {{ ref('stg_tiledesk__projects') }}
),

projects as (
    select
        _id as id_project,
        name as project_name,
        active_operating_hours,
        trial_expired,
        profile->>'type' as plan_type,
        {{ json_of_text('operating_hours') }} as operating_hours
    from {{ ref('stg_tiledesk__projects') }}
),

time_zones as (
    select lower(name) as key, min(name) as name
    from ({{ time_zones() }}) as known
    group by lower(name)
),

chosen as (
    select
        seen.id_project,
        projects.project_name,
        projects.operating_hours,
        -- an unpaid plan has no operating hours: the server then treats the project as open
        projects.active_operating_hours is true
            and not (projects.plan_type = 'free' and projects.trial_expired is true)
            as has_operating_hours,
        coalesce(
            settings.time_zone, projects.operating_hours->>'tzname', 'UTC'
        ) as time_zone
    from seen
    left join projects on projects.id_project = seen.id_project
    cross join {{ ref('int_tiledesk__settings') }} as settings
    where seen.id_project is not null
)

select
    chosen.id_project,
    chosen.project_name,
    coalesce(time_zones.name, 'UTC') as time_zone,
    time_zones.name is not null as is_time_zone_known,
    coalesce(chosen.has_operating_hours, false)
        and exists (
            select 1 from generate_series(0, 6) as week(day)
            where (chosen.operating_hours->cast(week.day as {{ column_type('text') }})->0) is not null
        ) as has_operating_hours,
    chosen.operating_hours
from chosen
left join time_zones on time_zones.key = lower(chosen.time_zone)
