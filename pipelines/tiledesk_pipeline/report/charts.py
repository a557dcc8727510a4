"""The charts of the report, drawn with Altair.

``python -m tiledesk_pipeline.report.charts`` writes them to `charts.json`, and the library that
draws them in the browser to `vega.js`. Both are part of the package, so a report needs neither
Altair nor a network.

The page gives each chart the conversations that the reader has chosen. The charts themselves
compute everything else, such as counts, medians and shares.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import altair as alt
import vl_convert

from .page import CHARTS, LIBRARY

NOTICE = (
    "/* Vega, Vega-Lite and Vega-Embed, as vl-convert {version} bundles them. BSD-3-Clause,"
    " Copyright (c) University of Washington Interactive Data Lab and contributors. */\n"
)

BLUE, ORANGE, GREEN, RED, GREY = "#4c86c6", "#e0883a", "#4a9d6e", "#cf5b5b", "#8b8f97"
DAY = 86_400_000  # milliseconds
# The start of the day, week (from Monday) or month of a conversation, and the start of the next.
PERIOD = (
    "step == 'day' ? datum.day : step == 'week' ? datum.day - ((utcday(datum.day) + 6) % 7) *"
    f" {DAY} : utc(utcyear(datum.day), utcmonth(datum.day), 1)"
)
PERIOD_END = (
    f"step == 'day' ? datum.period + {DAY} : step == 'week' ? datum.period + 7 * {DAY} :"
    " utc(utcyear(datum.period), utcmonth(datum.period) + 1, 1)"
)
WAITS = [
    "under 1 min",
    "1 to 5 min",
    "5 to 15 min",
    "15 to 60 min",
    "1 to 4 h",
    "4 to 24 h",
    "over 24 h",
    "no reply",
]
WAIT = (
    "!isValid(datum.first_reply) ? 'no reply' : datum.first_reply < 60 ? 'under 1 min' :"
    " datum.first_reply < 300 ? '1 to 5 min' : datum.first_reply < 900 ? '5 to 15 min' :"
    " datum.first_reply < 3600 ? '15 to 60 min' : datum.first_reply < 14400 ? '1 to 4 h' :"
    " datum.first_reply < 86400 ? '4 to 24 h' : 'over 24 h'"
)
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
WEEKDAY = (
    "['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']"
    "[utcday(datum.day)]"
)


@dataclass
class Chart:
    """A chart and its table.

    Attributes:
        key: its name in the page.
        title: its heading.
        about: a sentence that says what it shows.
        counts: the column that a conversation must have to count; empty: all count.
        columns: of the table: column, heading, and how it is written (`text`, `number`,
            `seconds`, `share`, `day`).
        drawing: what Altair draws; None for figures without a drawing.
    """

    key: str
    title: str
    about: str
    counts: str
    columns: list[tuple[str, str, str]]
    drawing: Any

    def as_json(self) -> dict[str, Any]:
        """The chart for the page."""
        spec = self.drawing.properties(width="container").to_dict(validate=True)
        spec.pop("$schema", None)
        spec.pop("config", None)
        spec["autosize"] = {"type": "fit-x", "contains": "padding"}
        return {
            "key": self.key,
            "title": self.title,
            "about": self.about,
            "counts": self.counts,
            "columns": self.columns,
            "spec": spec,
        }


def _base(name: str = "conversations") -> alt.Chart:
    return alt.Chart(alt.NamedData(name), height=220).add_params(alt.param("step", value="month"))


def _by_period(chart: alt.Chart) -> alt.Chart:
    dated: alt.Chart = chart.transform_calculate(period=PERIOD).transform_calculate(
        period_end=PERIOD_END
    )
    return dated


def _time(title: str = "") -> alt.X:
    return alt.X("period:T", title=title or None, scale=alt.Scale(type="utc"))


def _seconds(field: str, title: str) -> alt.Y:
    """Durations on a scale on which minutes and days can both be read."""
    label = (
        "datum.value < 60 ? datum.value + ' s' : datum.value < 3600 ? format(datum.value / 60,"
        " '.3~r') + ' min' : datum.value < 172800 ? format(datum.value / 3600, '.3~r') + ' h' :"
        " format(datum.value / 86400, '.3~r') + ' d'"
    )
    ticks = [10, 60, 300, 900, 3600, 14400, 86400, 604800, 2592000]
    return alt.Y(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(type="symlog", constant=30),
        axis=alt.Axis(labelExpr=label, values=ticks),
    )


def _ranked(field: str, title: str) -> alt.Chart:
    """Conversations by a name, the most first."""
    ranked: alt.Chart = (
        _base()
        .mark_bar(color=BLUE)
        .encode(
            y=alt.Y(f"{field}:N", sort=alt.EncodingSortField("n", order="descending"), title=None),
            x=alt.X("n:Q", title="conversations", axis=alt.Axis(tickMinStep=1)),
            tooltip=[
                alt.Tooltip(f"{field}:N", title=title),
                alt.Tooltip("n:Q", title="conversations"),
            ],
        )
        .properties(height=alt.Step(20))
    )
    return ranked


def _summary(field: str) -> dict[str, Any]:
    """Figures of each value of a column."""
    return {
        "aggregate": [
            alt.AggregatedFieldDef(op="count", **{"as": "n"}),
            alt.AggregatedFieldDef(op="median", field="first_reply", **{"as": "reply"}),
            alt.AggregatedFieldDef(op="median", field="resolution", **{"as": "resolved"}),
            alt.AggregatedFieldDef(op="mean", field="good", **{"as": "satisfied"}),
            alt.AggregatedFieldDef(op="valid", field="good", **{"as": "ratings"}),
        ],
        "groupby": [field],
    }


_SUMMARY = [
    ("n", "conversations", "number"),
    ("reply", "median first reply", "seconds"),
    ("resolved", "median time to resolution", "seconds"),
    ("satisfied", "good ratings", "share"),
    ("ratings", "ratings", "number"),
]


def _by_name(key: str, title: str, about: str, field: str, heading: str) -> Chart:
    drawing: Any = _ranked(field, heading).transform_filter(f"datum.{field} != ''")
    drawing = drawing.transform_aggregate(**_summary(field))
    return Chart(key, title, about, field, [(field, heading, "text"), *_SUMMARY], drawing)


def _durations(key: str, title: str, about: str, field: str, axis: str) -> Chart:
    drawing = (
        _by_period(_base().transform_filter(f"isValid(datum.{field})"))
        .transform_quantile(field, probs=[0.5, 0.9], groupby=["period"], as_=["prob", "seconds"])
        .transform_calculate(kind="datum.prob == 0.5 ? 'median' : '90th percentile'")
        .mark_line(point=True)
        .encode(
            x=_time(),
            y=_seconds("seconds", axis),
            color=alt.Color(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=["median", "90th percentile"], range=[BLUE, ORANGE]),
                legend=alt.Legend(orient="top"),
            ),
            strokeDash=alt.StrokeDash(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=["median", "90th percentile"], range=[[1, 0], [5, 3]]),
            ),
        )
    )
    columns = [("period", "from", "day"), ("kind", "figure", "text"), ("seconds", axis, "seconds")]
    return Chart(key, title, about, field, columns, drawing)


def _figures() -> Chart:
    """The numbers on top of the page; drawn nowhere."""
    wilson = (
        "datum.ratings == 0 ? null : 1.96 / (1 + 3.8416 / datum.ratings) * sqrt(datum.satisfied *"
        " (1 - datum.satisfied) / datum.ratings + 0.9604 / (datum.ratings * datum.ratings))"
    )
    drawing = (
        _base()
        .transform_aggregate(
            n="count()",
            reply="median(first_reply)",
            replies="valid(first_reply)",
            resolved="median(resolution)",
            resolutions="valid(resolution)",
            bots="sum(bot)",
            contained="sum(contained)",
            satisfied="mean(good)",
            ratings="valid(good)",
            open="sum(open)",
        )
        .transform_calculate(
            contained_share="datum.bots > 0 ? datum.contained / datum.bots : null",
            margin=wilson,
        )
        .mark_point()
        .encode(x="n:Q")
    )
    columns = [
        ("n", "conversations", "number"),
        ("reply", "median first reply", "seconds"),
        ("resolved", "median time to resolution", "seconds"),
        ("contained_share", "contained by the bot", "share"),
        ("satisfied", "good ratings", "share"),
        ("open", "open now", "number"),
    ]
    return Chart("figures", "", "", "", columns, drawing)


def _volume() -> Chart:
    drawing = (
        _by_period(_base())
        .transform_aggregate(n="count()", groupby=["period", "period_end", "channel"])
        .transform_stack(["low", "high"], "n", groupby=["period"], sort=[alt.SortField("channel")])
        .mark_rect()
        .encode(
            x=_time(),
            x2="period_end",
            y=alt.Y("low:Q", title="conversations", axis=alt.Axis(tickMinStep=1)),
            y2="high",
            color=alt.Color("channel:N", title=None, legend=alt.Legend(orient="top", columns=4)),
            tooltip=["channel:N", alt.Tooltip("n:Q", title="conversations")],
        )
    )
    columns = [("period", "from", "day"), ("channel", "channel", "text")]
    return Chart(
        "volume",
        "Volume",
        "Conversations that began, by channel.",
        "",
        [*columns, ("n", "conversations", "number")],
        drawing,
    )


def _backlog() -> Chart:
    drawing = (
        _base("spells")
        .add_params(alt.param("first_day", value=0), alt.param("last_day", value=0))
        .transform_fold(["opened", "closed"], as_=["kind", "period"])
        .transform_filter("isValid(datum.period)")
        .transform_calculate(change="datum.kind == 'opened' ? 1 : -1")
        .transform_aggregate(change="sum(change)", groupby=["period"])
        .transform_window(open="sum(change)", sort=[alt.SortField("period")], frame=[None, 0])
        .transform_filter("datum.period >= first_day && datum.period <= last_day")
        .mark_area(interpolate="step-after", color=BLUE, opacity=0.6, line={"color": BLUE})
        .encode(
            x=_time(),
            y=alt.Y("open:Q", title="open conversations", axis=alt.Axis(tickMinStep=1)),
        )
    )
    columns = [("period", "day", "day"), ("open", "open at its end", "number")]
    return Chart(
        "backlog",
        "Backlog",
        "Conversations that are open at the end of each day, from those that began in the period.",
        "",
        columns,
        drawing,
    )


def _waits() -> Chart:
    drawing = (
        _base()
        .transform_calculate(wait=WAIT)
        .transform_aggregate(n="count()", groupby=["wait"])
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("wait:N", sort=WAITS, scale=alt.Scale(domain=WAITS), title=None),
            y=alt.Y("n:Q", title="conversations", axis=alt.Axis(tickMinStep=1)),
            tooltip=["wait:N", alt.Tooltip("n:Q", title="conversations")],
        )
    )
    return Chart(
        "waits",
        "Waiting for the first reply",
        "How long customers waited for the first message of an agent. Bots do not count.",
        "",
        [("wait", "wait", "text"), ("n", "conversations", "number")],
        drawing,
    )


def _heat() -> Chart:
    drawing = (
        _base()
        .transform_calculate(weekday=WEEKDAY)
        .transform_aggregate(n="count()", reply="median(first_reply)", groupby=["weekday", "hour"])
        .mark_rect(color=BLUE)
        .encode(
            x=alt.X("hour:O", title="hour of the day", scale=alt.Scale(domain=list(range(24)))),
            y=alt.Y("weekday:N", sort=WEEKDAYS, scale=alt.Scale(domain=WEEKDAYS), title=None),
            opacity=alt.Opacity("n:Q", title="conversations", scale=alt.Scale(range=[0.08, 1])),
            tooltip=["weekday:N", "hour:O", alt.Tooltip("n:Q", title="conversations")],
        )
    )
    return Chart(
        "heat",
        "When customers write",
        "Conversations by weekday and hour in which they began. The table adds the median wait.",
        "",
        [
            ("weekday", "weekday", "text"),
            ("hour", "hour", "number"),
            ("n", "conversations", "number"),
            ("reply", "median first reply", "seconds"),
        ],
        drawing,
    )


def _bots() -> Chart:
    drawing = (
        _base()
        .transform_filter("datum.bot == 1")
        .transform_fold(["contained", "durable", "handed_over"], as_=["key", "value"])
        .transform_calculate(
            outcome="{contained: 'contained', durable: 'contained for good',"
            " handed_over: 'handed over'}[datum.key]"
        )
        .transform_aggregate(n="sum(value)", share="mean(value)", of="count()", groupby=["outcome"])
        .mark_bar(color=GREEN)
        .encode(
            y=alt.Y(
                "outcome:N", title=None, sort=["contained", "contained for good", "handed over"]
            ),
            x=alt.X(
                "share:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")
            ),
            tooltip=["outcome:N", alt.Tooltip("share:Q", format=".1%"), "n:Q"],
        )
        .properties(height=alt.Step(28))
    )
    return Chart(
        "bots",
        "Bots",
        "What became of the conversations in which a bot took part. Contained: no agent was needed."
        " For good: the customer did not come back to it within the days that count as durable.",
        "bot",
        [
            ("outcome", "outcome", "text"),
            ("n", "conversations", "number"),
            ("of", "with a bot", "number"),
            ("share", "share", "share"),
        ],
        drawing,
    )


def _satisfaction() -> Chart:
    rated = _by_period(_base().transform_filter("datum.rated")).transform_aggregate(
        ratings="count()", satisfied="mean(good)", groupby=["period"]
    )
    rated = rated.transform_calculate(
        center="(datum.satisfied + 1.9208 / datum.ratings) / (1 + 3.8416 / datum.ratings)",
        margin="1.96 / (1 + 3.8416 / datum.ratings) * sqrt(datum.satisfied * (1 - datum.satisfied)"
        " / datum.ratings + 0.9604 / (datum.ratings * datum.ratings))",
    ).transform_calculate(low="datum.center - datum.margin", high="datum.center + datum.margin")
    axis = alt.Y(
        "low:Q", title="good ratings", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")
    )
    drawing = alt.layer(
        rated.mark_area(color=GREEN, opacity=0.2).encode(x=_time(), y=axis, y2="high"),
        rated.mark_line(color=GREEN, point=True).encode(x=_time(), y="satisfied:Q"),
    )
    return Chart(
        "satisfaction",
        "Satisfaction",
        "Share of good ratings. The band is the margin of error (95 %, Wilson): with few ratings it"
        " is wide.",
        "rated",
        [
            ("period", "from", "day"),
            ("satisfied", "good ratings", "share"),
            ("low", "at least", "share"),
            ("high", "at most", "share"),
            ("ratings", "ratings", "number"),
        ],
        drawing,
    )


def _tags() -> Chart:
    drawing = (
        _ranked("tag", "tag")
        .transform_filter("datum.tags.length > 0")
        .transform_flatten(["tags"], as_=["tag"])
        .transform_aggregate(n="count()", groupby=["tag"])
        .transform_window(place="row_number()", sort=[alt.SortField("n", order="descending")])
        .transform_filter("datum.place <= 20")
    )
    columns = [("tag", "tag", "text"), ("n", "conversations", "number")]
    about = "The 20 most frequent tags. A conversation with several tags counts for each."
    return Chart("tags", "Tags", about, "tagged", columns, drawing)


def _pages() -> Chart:
    drawing = (
        _ranked("page", "page")
        .transform_filter("datum.page != ''")
        .transform_aggregate(n="count()", groupby=["page"])
        .transform_window(place="row_number()", sort=[alt.SortField("n", order="descending")])
        .transform_filter("datum.place <= 20")
    )
    columns = [("page", "page", "text"), ("n", "conversations", "number")]
    about = "The 20 pages on which most conversations began, without their parameters."
    return Chart("pages", "Where customers come from", about, "page", columns, drawing)


def _sla() -> Chart:
    results = ["met", "breached", "running"]
    drawing = (
        _base()
        .transform_fold(["sla_first", "sla_next", "sla_last"], as_=["key", "result"])
        .transform_filter(f"indexof({results}, datum.result) >= 0")
        .transform_calculate(
            target="{sla_first: 'first reply', sla_next: 'next replies', sla_last: 'resolution'}"
            "[datum.key]"
        )
        .transform_aggregate(n="count()", groupby=["target", "result"])
        .transform_joinaggregate(of="sum(n)", groupby=["target"])
        .transform_calculate(share="datum.n / datum.of")
        .mark_bar()
        .encode(
            y=alt.Y("target:N", title=None, sort=["first reply", "next replies", "resolution"]),
            x=alt.X("n:Q", stack="normalize", title=None, axis=alt.Axis(format="%")),
            color=alt.Color(
                "result:N",
                title=None,
                scale=alt.Scale(domain=results, range=[GREEN, RED, GREY]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["target:N", "result:N", "n:Q", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=alt.Step(28))
    )
    return Chart(
        "sla",
        "Service level",
        "Conversations that met each target. The targets are settings of transform.",
        "sla",
        [
            ("target", "target", "text"),
            ("result", "result", "text"),
            ("n", "conversations", "number"),
            ("share", "share", "share"),
        ],
        drawing,
    )


def charts() -> list[Chart]:
    """All charts in the order of the page; the first one holds the figures on top."""
    return [
        _figures(),
        _volume(),
        _backlog(),
        _waits(),
        _durations(
            "replies",
            "First reply over time",
            "Time to the first message of an agent, in calendar time, by the date the conversation"
            " began.",
            "first_reply",
            "first reply",
        ),
        _heat(),
        _durations(
            "resolutions",
            "Resolution over time",
            "Time from the beginning to the last close, in calendar time, by the date the"
            " conversation began.",
            "resolution",
            "time to resolution",
        ),
        _sla(),
        _by_name(
            "agents",
            "Agents",
            "Each conversation counts for the agent who wrote last.",
            "agent",
            "agent",
        ),
        _by_name(
            "departments",
            "Departments",
            "Conversations of each department.",
            "department",
            "department",
        ),
        _by_name("channels", "Channels", "Conversations of each channel.", "channel", "channel"),
        _bots(),
        _satisfaction(),
        _tags(),
        _pages(),
    ]


def as_text() -> str:
    """The content of `charts.json`."""
    content = [chart.as_json() for chart in charts()]
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def notice() -> str:
    """The first line of `vega.js`; it names the version of vl-convert."""
    return NOTICE.format(version=version("vl-convert-python"))


if __name__ == "__main__":
    CHARTS.write_text(as_text(), encoding="utf-8")
    if not LIBRARY.is_file() or not LIBRARY.read_text("utf-8").startswith(notice()):
        LIBRARY.write_text(
            notice() + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"),
            encoding="utf-8",
        )
