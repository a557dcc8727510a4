{# Help for Postgres's planner, as hooks. DuckDB needs none. #}

{# A new table has no statistics until it is analyzed. Without them, Postgres chooses nested loops. #}
{% macro statistics() %}{{ return(adapter.dispatch('statistics', 'tiledesk')()) }}{% endmacro %}

{% macro default__statistics() %}{% if not is_incremental() %}analyze {{ this }}{% endif %}{% endmacro %}

{% macro duckdb__statistics() %}{% endmacro %}

{# To compile a query takes longer than to run it, unless it reads millions of rows. #}
{% macro no_compilation() %}{{ return(adapter.dispatch('no_compilation', 'tiledesk')()) }}{% endmacro %}

{% macro default__no_compilation() %}set local jit = off{% endmacro %}

{% macro duckdb__no_compilation() %}{% endmacro %}
