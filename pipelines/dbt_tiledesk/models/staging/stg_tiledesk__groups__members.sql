{{ present_rows(
    'groups__members',
    {
        'id_project': 'text',
        'parent_id': 'text',
        'position': 'bigint',
        'member': 'text',
    },
) }}
