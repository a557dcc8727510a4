{{ present_rows(
    'leads__tags',
    {
        'parent_id': 'text',
        'position': 'bigint',
        'tag': 'text',
    },
) }}
