"""DuckDB's SQL of the marts as SQL of Spark.

sqlglot translates it, except for what would have other values in Spark, or does not exist there.
The session's time zone must be UTC: the clock of another time zone is then a timestamp, too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.generators.spark import SparkGenerator

# The view with the names of time zones, which DuckDB has as a function.
TIME_ZONES = "known_time_zones"
# An hour that a clock shows twice is the second one in DuckDB, and the first one in Spark.
_FIRST = "to_utc_timestamp({clock}, {zone})"
_DAY_AFTER = "(to_utc_timestamp({clock}, {zone}) + interval 1 day)"
_SECOND = "({clock} - (from_utc_timestamp({day_after}, {zone}) - {day_after}))"
_INSTANT = "if(from_utc_timestamp({second}, {zone}) = {clock}, {second}, {first})"


def translated(query: str) -> str:
    """The query, written for DuckDB, in the SQL of Spark."""
    return sqlglot.transpile(query, read="duckdb", write=_Dialect)[0]


def _anonymous(self: SparkGenerator, node: exp.Anonymous) -> str:
    arguments = [self.sql(each) for each in node.expressions]
    match node.name.lower():
        case "epoch_us":
            return f"unix_micros({arguments[0]})"
        case "pg_timezone_names":
            return TIME_ZONES
        case "timezone":
            return _instant(*arguments)
    return self.anonymous_sql(node)


def _instant(zone: str, clock: str) -> str:
    """The time at which the clock of a time zone shows this."""
    given = {"zone": zone, "clock": clock}
    second = _SECOND.format(day_after=_DAY_AFTER.format_map(given), **given)
    return _INSTANT.format(first=_FIRST.format_map(given), second=second, **given)


def _cast(self: SparkGenerator, node: exp.Cast) -> str:
    text = self.sql(node, "this")
    if node.is_type(exp.DType.JSON):
        return f"CAST({text} AS STRING)"
    if node.is_type(exp.DType.TIME):  # which is added to a date
        hours, minutes = (f"CAST(split_part({text}, ':', {part}) AS INT)" for part in (1, 2))
        return f"make_dt_interval(0, {hours}, {minutes})"
    return self.cast_sql(node)


def _extract(self: SparkGenerator, node: exp.Extract) -> str:
    time = self.sql(node, "expression")
    match node.name.lower():
        case "dow":  # 0 is Sunday in DuckDB
            return f"(dayofweek({time}) - 1)"
        case "isodow":
            return f"extract(dow_iso FROM {time})"
    return self.extract_sql(node)


def _json_extract(self: SparkGenerator, node: exp.JSONExtract) -> str:
    path = node.expression
    if isinstance(path, exp.JSONPath):
        where = self.sql(path)
    elif path.is_type(exp.DType.INT):
        where = f"concat('$[', {self.sql(path)}, ']')"
    else:
        where = f"concat('$.', {self.sql(path)})"
    return f"get_json_object({self.sql(node, 'this')}, {where})"


def _like_regexp(self: SparkGenerator, node: exp.RegexpFullMatch) -> str:
    # $ would also match before a line break at the end
    pattern = exp.Literal.string(rf"\A({node.expression.name})\z")
    return f"{self.sql(node, 'this')} RLIKE {self.sql(pattern)}"


def _series(self: SparkGenerator, node: exp.GenerateSeries) -> str:
    bounds = (node.args["start"], node.args["end"], node.args.get("step"))
    return f"explode({self.func('sequence', *bounds)})"


def _common_table(self: SparkGenerator, node: exp.CTE) -> str:
    node.set("materialized", None)
    return self.cte_sql(node)


class _Generator(SparkGenerator):
    TYPE_MAPPING: ClassVar[Any] = {
        **SparkGenerator.TYPE_MAPPING,
        exp.DType.JSON: "STRING",
        exp.DType.TIMESTAMPNTZ: "TIMESTAMP",
    }
    TRANSFORMS: ClassVar[Any] = {
        **SparkGenerator.TRANSFORMS,
        exp.Anonymous: _anonymous,
        # the average of decimals would be a decimal, rounded
        exp.Avg: lambda self, node: f"avg(CAST({self.sql(node, 'this')} AS DOUBLE))",
        exp.CTE: _common_table,
        exp.Cast: _cast,
        exp.Extract: _extract,
        exp.GenerateSeries: _series,
        exp.JSONExtract: _json_extract,
        exp.JSONExtractScalar: _json_extract,
        exp.JSONType: lambda self, node: (
            f"""CASE WHEN {self.sql(node, "this")} LIKE '"%' THEN 'VARCHAR' END"""
        ),
        exp.RegexpFullMatch: _like_regexp,
        # sqlglot would change it for Spark's older versions: rows of a function, exact percentiles
        exp.Table: lambda self, node: self.table_sql(node),
        exp.TryCast: _cast,
        exp.WithinGroup: lambda self, node: self.withingroup_sql(node),
    }


class _Dialect(Spark):
    Generator = _Generator
