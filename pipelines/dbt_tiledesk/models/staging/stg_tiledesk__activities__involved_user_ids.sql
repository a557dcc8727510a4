{{ present_rows(
    'activities__involved_user_ids',
    {
        'parent_id': 'text',
        'position': 'bigint',
        'user_id': 'text',
    },
) }}
