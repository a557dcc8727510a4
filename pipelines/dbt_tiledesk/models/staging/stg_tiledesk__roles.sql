{{ present_rows(
    'roles',
    {
        '_id': 'text',
        'id_project': 'text',
        'name': 'text',
        'permissions': 'json',
        'version': 'bigint',
    },
) }}
