{# The rows of a loaded table that Tiledesk has now, with every declared column.

   A table or column that was not loaded (another setting, an older version of the connector) is
   null, so that the models above can be built all the same.

   Args:
       table: name of the loaded table.
       columns: its declared columns and their types.
       names: by column of numbers, the name of each number; makes a column <column>_name.
       copied: by column, SQL on `attributes`, for tables of an earlier version, which lack the column.
#}
{% macro present_rows(table, columns, names={}, copied={}) %}
    {%- set relation = none -%}
    {%- set loaded = [] -%}
    {%- if execute -%}
        {%- set place = source('tiledesk', table) -%}
        {%- set relation = adapter.get_relation(place.database, place.schema, place.identifier) -%}
        {%- if relation is not none -%}
            {%- set loaded = adapter.get_columns_in_relation(relation) | map(attribute='name') | list -%}
        {%- endif -%}
    {%- endif -%}
select
    {% for column, type in columns.items() -%}
    {%- if column in loaded -%}
    {{ adapter.quote(column) }}
    {%- elif column in copied and 'attributes' in loaded -%}
    {{ copied[column] }} as {{ adapter.quote(column) }}
    {%- else -%}
    cast(null as {{ tiledesk.column_type(type) }}) as {{ adapter.quote(column) }}
    {%- endif -%}
    {{ "," if not loop.last or names }}
    {% endfor -%}
    {%- for column, numbers in names.items() -%}
    {%- if column in loaded -%}
    case {{ adapter.quote(column) }}
        {%- for number, name in numbers.items() %}
        when {{ number }} then '{{ name }}'
        {%- endfor %}
        else cast({{ adapter.quote(column) }} as {{ tiledesk.column_type('text') }})
    end as {{ column }}_name
    {%- else -%}
    cast(null as {{ tiledesk.column_type('text') }}) as {{ column }}_name
    {%- endif -%}
    {{ "," if not loop.last }}
    {% endfor %}
{% if relation is not none -%}
from {{ source('tiledesk', table) }}
where true
    {%- if '_deleted_at' in loaded %} and _deleted_at is null{% endif %}
    {%- if '_deleted' in loaded %} and _deleted is not true{% endif %}
    {%- if '_dlt_valid_to' in loaded %} and _dlt_valid_to is null{% endif %}
    {%- if '_id' in loaded and 'parent_id' not in loaded %} and _id is not null{% endif %}
{%- else -%}
where false
{%- endif %}
{% endmacro %}
