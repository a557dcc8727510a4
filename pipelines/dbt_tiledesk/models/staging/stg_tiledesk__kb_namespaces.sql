{{ present_rows(
    'kb_namespaces',
    {
        '_id': 'text',
        'id_project': 'text',
        'name': 'text',
        'is_default': 'bool',
        'hybrid': 'bool',
        'preview_settings': 'json',
        'engine': 'json',
        'embedding': 'json',
        'created_at': 'timestamp',
        'updated_at': 'timestamp',
    },
) }}
