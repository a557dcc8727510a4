{{ keep_nothing() }}
-- The business time of each project, as intervals in UTC that do not overlap, with the seconds before.
--
-- The project's operating hours apply to the whole history, because Tiledesk keeps no older ones. A
-- project without operating hours is always open. Each interval is made from its own date and the
-- time zone, so that changes between summer and winter time are right.
with

projects as (
    select * from {{ ref('int_tiledesk__projects') }}
),

bounds as (
    select id_project, min(created_at) as first_at, max(last_at) as last_at
    from (
        select id_project, created_at, greatest(created_at, updated_at, closed_at) as last_at
        from {{ of_changed('stg_tiledesk__requests', 'requests', '_id') }}
        union all
        select id_project, created_at, created_at as last_at
        from {{ ref('int_tiledesk__messages') }}
    ) as times
    where created_at is not null
    group by id_project
),

days as (
    select
        projects.id_project,
        projects.time_zone,
        projects.has_operating_hours,
        projects.operating_hours,
        cast(series.day as date) as day
    from projects
    inner join bounds on bounds.id_project = projects.id_project
    cross join lateral generate_series(
        cast(cast(bounds.first_at at time zone projects.time_zone as date) as timestamp) - interval '1 day',
        cast(cast(bounds.last_at at time zone projects.time_zone as date) as timestamp) + interval '1 day',
        interval '1 day'
    ) as series(day)
    left join {{ ref('int_tiledesk__holidays') }} as holidays on holidays.holiday = cast(series.day as date)
    where holidays.holiday is null
),

planned as (
    select
        days.id_project,
        days.time_zone,
        days.day,
        (
            days.operating_hours->cast(cast(extract(dow from days.day) as integer) as {{ column_type('text') }})
            ->cast(places.place as integer)
        ) as hours
    from days
    cross join generate_series(0, 23) as places(place)
    where days.has_operating_hours
),

spelled as (
    select id_project, time_zone, day, hours->>'start' as starts, hours->>'end' as ends
    from planned
    where (hours->>'start') ~ '^([01]?[0-9]|2[0-3]):[0-5][0-9]$'
        and (hours->>'end') ~ '^(([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00)$'
),

local_intervals as (
    select
        id_project,
        time_zone,
        day + cast(starts as time) as starts,
        case when ends = '24:00' then cast(day as timestamp) + interval '1 day' else day + cast(ends as time) end as ends
    from spelled
    union all
    select id_project, time_zone, cast(day as timestamp), cast(day as timestamp) + interval '1 day'
    from days
    where not has_operating_hours
),

intervals as (
    select
        id_project,
        {{ instant('starts', 'time_zone') }} as starts_at,
        {{ instant('ends', 'time_zone') }} as ends_at
    from local_intervals
    where ends > starts
),

marked as (
    select
        intervals.*,
        case when starts_at <= max(ends_at) over (
            partition by id_project order by starts_at, ends_at
            rows between unbounded preceding and 1 preceding
        ) then 0 else 1 end as begins
    from intervals
),

grouped as (
    select
        marked.*,
        sum(begins) over (
            partition by id_project order by starts_at, ends_at
            rows between unbounded preceding and current row
        ) as block
    from marked
),

merged as (
    select id_project, min(starts_at) as starts_at, max(ends_at) as ends_at
    from grouped
    group by id_project, block
)

select
    id_project,
    starts_at,
    ends_at,
    coalesce(
        sum({{ seconds('starts_at', 'ends_at') }}) over (
            partition by id_project order by starts_at
            rows between unbounded preceding and 1 preceding
        ), 0
    ) as seconds_before
from merged
