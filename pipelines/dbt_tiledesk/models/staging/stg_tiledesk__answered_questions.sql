{{ present_rows(
    'answered_questions',
    {
        '_id': 'text',
        'id_project': 'text',
        'namespace': 'text',
        'question': 'text',
        'answer': 'text',
        'tokens': 'bigint',
        'request_id': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
