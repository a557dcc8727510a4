{{ present_rows(
    'tags',
    {
        '_id': 'text',
        'id_project': 'text',
        'tag': 'text',
        'color': 'text',
        'attributes': 'json',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
