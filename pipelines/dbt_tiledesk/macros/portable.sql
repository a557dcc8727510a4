{# The few things that DuckDB and Postgres spell differently. #}

{% macro column_type(type) %}{{ return(adapter.dispatch('column_type', 'tiledesk')(type)) }}{% endmacro %}

{% macro default__column_type(type) %}
    {{- return({'text': 'text', 'bigint': 'bigint', 'double': 'double precision', 'bool': 'boolean',
                'timestamp': 'timestamp with time zone', 'json': 'jsonb'}[type]) -}}
{% endmacro %}

{% macro duckdb__column_type(type) %}
    {{- return({'text': 'varchar', 'bigint': 'bigint', 'double': 'double', 'bool': 'boolean',
                'timestamp': 'timestamp with time zone', 'json': 'json'}[type]) -}}
{% endmacro %}

{# A JSON object that the API may send as text inside JSON. #}
{% macro json_of_text(column) %}{{ return(adapter.dispatch('json_of_text', 'tiledesk')(column)) }}{% endmacro %}

{% macro default__json_of_text(column) -%}
    case when jsonb_typeof({{ column }}) = 'string' then ({{ column }} #>> '{}')::jsonb else {{ column }} end
{%- endmacro %}

{% macro duckdb__json_of_text(column) -%}
    case when json_type({{ column }}) = 'VARCHAR' then try_cast({{ column }}->>'$' as json) else {{ column }} end
{%- endmacro %}

{# Names of the time zones that the engine knows. #}
{% macro time_zones() %}select name from pg_timezone_names(){% endmacro %}

{# The clock of UTC at a time, whatever the session's time zone is. #}
{% macro utc(time) %}{{ return(adapter.dispatch('utc', 'tiledesk')(time)) }}{% endmacro %}

{% macro default__utc(time) %}({{ time }} at time zone 'UTC'){% endmacro %}

{# without the tables of time zones, which cost most of what is read from a time #}
{% macro duckdb__utc(time) %}make_timestamp(epoch_us({{ time }})){% endmacro %}

{# The time at which the clock of a time zone shows this. `at time zone` is only used for the other
   way, which in Spark is another function. #}
{% macro instant(clock, time_zone) %}timezone({{ time_zone }}, {{ clock }}){% endmacro %}

{# Seconds between two times, exact to the millisecond, so that sums are exact too. #}
{% macro seconds(from_at, to_at) %}{{ return(adapter.dispatch('seconds', 'tiledesk')(from_at, to_at)) }}{% endmacro %}

{% macro default__seconds(from_at, to_at) -%}
    cast(extract(epoch from ({{ to_at }} - {{ from_at }})) as decimal(18, 3))
{%- endmacro %}

{# DuckDB takes a hundred times as long for the difference of two times, which it makes by the calendar. #}
{% macro duckdb__seconds(from_at, to_at) -%}
    cast((epoch_us({{ to_at }}) - epoch_us({{ from_at }})) / 1e6 as decimal(18, 3))
{%- endmacro %}

{# The first day of the week of a date; `first` is 1 for Monday, 7 for Sunday. #}
{% macro week_of(day, first) -%}
    cast({{ day }} - cast(mod(cast(extract(isodow from {{ day }}) as integer) - {{ first }} + 7, 7) as integer) as date)
{%- endmacro %}

{# Text of several rows in order, joined. #}
{% macro joined_text(expression, separator, order) -%}
    string_agg({{ expression }}, {{ separator }} order by {{ order }})
{%- endmacro %}
