{{ present_rows(
    'pending_invitations',
    {
        '_id': 'text',
        'id_project': 'text',
        'email': 'text',
        'role': 'text',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
