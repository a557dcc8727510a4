{{ present_rows(
    'departments__groups',
    {
        'id_project': 'text',
        'parent_id': 'text',
        'position': 'bigint',
        '_id': 'text',
        'group_id': 'text',
        'percentage': 'double',
    },
) }}
