{{ present_rows(
    'groups',
    {
        '_id': 'text',
        'id_project': 'text',
        'name': 'text',
        'enabled': 'bool',
        'trashed': 'bool',
        'members': 'json',
        'attributes': 'json',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
