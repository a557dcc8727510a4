{{ present_rows(
    'requests__participants_agents',
    {
        'parent_id': 'text',
        'position': 'bigint',
        'agent': 'text',
    },
) }}
