{{ present_rows(
    'events',
    {
        '_id': 'text',
        'id_project': 'text',
        'name': 'text',
        'attributes': 'json',
        'project_user': 'text',
        'status': 'text',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
