-- One row for each local day and department.
{{ daily(['department_id', 'department'], ref('tiledesk__conversations'), ref('tiledesk__messages')) }}
