{{ present_rows(
    'segments',
    {
        '_id': 'text',
        'id_project': 'text',
        'name': 'text',
        'match': 'text',
        'filters': 'json',
        'status': 'bigint',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
