{# Keys of the marts, as hooks. In Postgres they are constraints, which tools draw and join by.

   In DuckDB there are none: dbt could not replace a table that has one. A table that keeps its rows
   keeps its keys, too. #}

{% macro primary_key(columns) %}{{ return(adapter.dispatch('primary_key', 'tiledesk')(columns)) }}{% endmacro %}

{% macro default__primary_key(columns) -%}
    {% if not is_incremental() %}alter table {{ this }} add primary key ({{ columns }}){% endif %}
{%- endmacro %}

{% macro duckdb__primary_key(columns) %}{% endmacro %}

{# It is checked at the end of a transaction, in which a changed conversation is removed and made again:
   readers always see the rows that belong to it. #}
{% macro of_conversation() %}{{ return(adapter.dispatch('of_conversation', 'tiledesk')()) }}{% endmacro %}

{% macro default__of_conversation() -%}
    {% if not is_incremental() -%}
    alter table {{ this }} add foreign key (conversation_id) references {{ ref('tiledesk__conversations') }}
        deferrable initially deferred
    {%- endif %}
{%- endmacro %}

{% macro duckdb__of_conversation() %}{% endmacro %}

{# For tables whose primary key does not begin with the conversation. #}
{% macro index_of_conversations() %}{{ return(adapter.dispatch('index_of_conversations', 'tiledesk')()) }}{% endmacro %}

{% macro default__index_of_conversations() -%}
    {% if not is_incremental() %}create index on {{ this }} (conversation_id){% endif %}
{%- endmacro %}

{% macro duckdb__index_of_conversations() %}{% endmacro %}
