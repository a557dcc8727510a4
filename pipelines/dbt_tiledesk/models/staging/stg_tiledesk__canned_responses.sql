{{ present_rows(
    'canned_responses',
    {
        '_id': 'text',
        'id_project': 'text',
        'title': 'text',
        'text': 'text',
        'shared': 'bool',
        'status': 'bigint',
        'attributes': 'json',
        'created_by': 'text',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
        'version': 'bigint',
    },
) }}
