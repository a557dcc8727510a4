select id_project, day, department_id, channel
from {{ ref('tiledesk__daily') }}
group by id_project, day, department_id, channel
having count(*) > 1
