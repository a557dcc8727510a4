{{ present_rows(
    'unanswered_questions',
    {
        '_id': 'text',
        'id_project': 'text',
        'namespace': 'text',
        'question': 'text',
        'request_id': 'text',
        'sender': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
