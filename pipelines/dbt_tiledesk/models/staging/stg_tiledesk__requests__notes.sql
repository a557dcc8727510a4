{{ present_rows(
    'requests__notes',
    {
        'parent_id': 'text',
        'position': 'bigint',
        '_id': 'text',
        'text': 'text',
        'attributes': 'json',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
    },
) }}
