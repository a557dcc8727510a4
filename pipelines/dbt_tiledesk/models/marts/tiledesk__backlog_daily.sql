-- Conversations that are open at the end of each local day, by department.
with

per_day as (
    select
        id_project, department_id, department, day,
        cast(sum(opened) as bigint) as opened,
        cast(sum(closed) as bigint) as closed,
        cast(sum(waiting) as bigint) as waiting
    from {{ ref('int_tiledesk__backlog_changes') }}
    group by id_project, department_id, department, day
),

last_days as (
    select id_project, max(day) as last_day from per_day group by id_project
),

days as (
    select bounds.id_project, bounds.department_id, bounds.department, cast(series.day as date) as day
    from (
        select id_project, department_id, department, min(day) as first_day
        from per_day
        group by id_project, department_id, department
    ) as bounds
    inner join last_days on last_days.id_project = bounds.id_project
    cross join lateral generate_series(
        cast(bounds.first_day as timestamp), cast(last_days.last_day as timestamp), interval '1 day'
    ) as series(day)
)

select
    days.id_project,
    days.day,
    days.department_id,
    days.department,
    coalesce(per_day.opened, 0) as opened,
    coalesce(per_day.closed, 0) as closed,
    cast(sum(coalesce(per_day.opened, 0) - coalesce(per_day.closed, 0)) over running as bigint) as open_at_end,
    cast(sum(coalesce(per_day.waiting, 0)) over running as bigint) as unanswered_at_end
from days
left join per_day
    on per_day.id_project = days.id_project
    and per_day.department_id is not distinct from days.department_id
    and per_day.day = days.day
window running as (
    partition by days.id_project, days.department_id order by days.day
    rows between unbounded preceding and current row
)
