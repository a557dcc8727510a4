{{ present_rows(
    'properties',
    {
        '_id': 'text',
        'id_project': 'text',
        'label': 'text',
        'name': 'text',
        'type': 'text',
        'status': 'bigint',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
