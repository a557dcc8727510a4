{# Keys of the marts, as hooks. In Postgres they are constraints, which tools draw and join by.

   In DuckDB there are none: dbt could not replace a table that has one. #}

{% macro primary_key(columns) %}{{ return(adapter.dispatch('primary_key', 'tiledesk')(columns)) }}{% endmacro %}

{% macro default__primary_key(columns) -%}
    alter table {{ this }} add primary key ({{ columns }})
{%- endmacro %}

{% macro duckdb__primary_key(columns) %}{% endmacro %}

{% macro of_conversation() %}{{ return(adapter.dispatch('of_conversation', 'tiledesk')()) }}{% endmacro %}

{% macro default__of_conversation() -%}
    alter table {{ this }} add foreign key (conversation_id) references {{ ref('tiledesk__conversations') }}
{%- endmacro %}

{% macro duckdb__of_conversation() %}{% endmacro %}
