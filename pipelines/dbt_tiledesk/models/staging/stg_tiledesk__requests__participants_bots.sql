{{ present_rows(
    'requests__participants_bots',
    {
        'parent_id': 'text',
        'position': 'bigint',
        'bot': 'text',
    },
) }}
