-- One row for each local day, department and channel.
{{ daily(['department_id', 'department', 'channel'], ref('tiledesk__conversations'), ref('tiledesk__messages')) }}
