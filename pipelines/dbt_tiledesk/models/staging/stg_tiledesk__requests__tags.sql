{{ present_rows(
    'requests__tags',
    {
        'parent_id': 'text',
        'position': 'bigint',
        '_id': 'text',
        'tag': 'text',
        'color': 'text',
        'attributes': 'json',
    },
) }}
