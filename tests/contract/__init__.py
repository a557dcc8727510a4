"""What a Tiledesk server does, as far as the connector relies on it.

The same tests run against the sandbox and, when ``TILEDESK_REAL_SERVERS`` names a directory
with ``natural.json`` or ``shuffle.json`` or both, against real servers.  The last line of each file
is a JSON object: base_url, project_id, other_project_id, and email and password of owner,
admin, agent, late_agent and outsider.  The project should hold some hundred records of each
kind, with 150 of them in one millisecond.
"""
