{# Making only the conversations again that have changed.

   `tiledesk-dlt transform` finds them, and names the table that holds them in the variable
   tiledesk_changed. Without that variable, every model is made anew. #}

{# The rows of a model that belong to changed conversations; all rows if these are not known.

   Args:
       model: its name.
       alias: what the query calls it.
       column: its column that says whose a row is.
       key: the column of the table of changed conversations that has the same values.
#}
{% macro of_changed(model, alias, column='conversation_id', key='conversation_id') -%}
{%- if var('tiledesk_changed') -%}
    (
        select * from {{ ref(model) }}
        where {{ column }} in (select {{ key }} from {{ var('tiledesk_changed') }})
    ) as {{ alias }}
{%- else -%}
    {{ ref(model) }} as {{ alias }}
{%- endif -%}
{%- endmacro %}

{# For a table that keeps the rows of conversations that have not changed. #}
{% macro keep_unchanged() -%}
{%- if var('tiledesk_changed') -%}
    {{ config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="delete from {{ this }} where conversation_id in (select conversation_id from {{ var('tiledesk_changed') }})",
    ) }}
{%- endif -%}
{%- endmacro %}

{# For a table that other models of the same run read, and nobody else. Its name tells if it does not
   have all rows. #}
{% macro keep_nothing() -%}
{%- if var('tiledesk_changed') -%}
    {{ config(alias='changed_' ~ model.name) }}
{%- endif -%}
{%- endmacro %}

{# For a table that keeps the figures of the months before the variable tiledesk_since, which
   `tiledesk-dlt transform` also gives. Figures without a month end now. #}
{% macro keep_months() -%}
{%- if var('tiledesk_since') -%}
    {{ config(
        materialized='incremental',
        incremental_strategy='append',
        pre_hook="delete from {{ this }} where year is null or (year, month) >= (extract(year from date '{{ var('tiledesk_since') }}'), extract(month from date '{{ var('tiledesk_since') }}'))",
    ) }}
{%- endif -%}
{%- endmacro %}

{# The condition on the rows that the other figures are made of.

   Args:
       column: the time at which they were created.
       word: where or and.
#}
{% macro in_months(column, word) -%}
{%- if var('tiledesk_since') %}
    {{ word }} ({{ column }} >= timestamp with time zone '{{ var('tiledesk_since') }} 00:00:00+00' or {{ column }} is null)
{%- endif -%}
{%- endmacro %}
