{{ present_rows(
    'requests__followers',
    {
        'parent_id': 'text',
        'position': 'bigint',
        'follower': 'text',
    },
) }}
