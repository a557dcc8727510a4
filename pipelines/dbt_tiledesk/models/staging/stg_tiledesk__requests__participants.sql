{{ present_rows(
    'requests__participants',
    {
        'parent_id': 'text',
        'position': 'bigint',
        'participant': 'text',
    },
) }}
