"""How the server reads dates: leniently, and therefore sometimes wrongly.

The server tries ten formats in order and takes the first that matches, skipping characters that it
does not understand. So it reads ``2026/07/16`` day first, as 2016-07-20. This module does the same,
so that a client with a wrong format gets the same wrong result here.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

UTC = timezone.utc

_DAY_FIRST = ["D/M/Y H:m:s", "D/M/Y, H:m:s", "D/M/Y H:m", "D/M/Y, H:m", "D/M/Y"]
_YEAR_FIRST = [fmt.replace("D/M/Y", "Y/M/D") for fmt in _DAY_FIRST]
FORMATS = [*_DAY_FIRST, *_YEAR_FIRST]

_DIGITS = {"Y": re.compile(r"\d{1,4}", re.ASCII)} | dict.fromkeys(
    "DMHms", re.compile(r"\d{1,2}", re.ASCII)
)
_TIME_OF_DAY = re.compile(r"\d{1,2}:\d{2}(:\d{2})?", re.ASCII)


class BadDateError(ValueError):
    """The server answers 500 with this text."""


@cache
def _zones() -> dict[str, str]:
    return {name.lower(): name for name in available_timezones()}


def zone(name: str) -> ZoneInfo:
    """The zone with that IANA name, in any letter case."""
    found = _zones().get(name.lower())
    if found is None:
        raise BadDateError(
            f"Invalid timezone: {name}. Please use a valid IANA timezone "
            '(e.g., "Europe/Rome", "America/New_York")'
        )
    return ZoneInfo(found)


def _fields(text: str, fmt: str) -> dict[str, int]:
    """The value of each letter of `fmt`; each search continues after the one before."""
    found: dict[str, int] = {}
    rest = text
    for token in fmt:
        pattern = _DIGITS.get(token)
        if pattern is None:
            _, separator, after = rest.partition(token)
            rest = after if separator else rest
        elif match := pattern.search(rest):
            value = int(match[0])
            if token == "Y" and len(match[0]) == 2:
                value += 1900 if value > 68 else 2000
            found[token] = value
            rest = rest[match.end() :]
    return found


def read(text: str, fmt: str) -> datetime | None:
    """`text` in one format, as wall-clock time without a zone; None if it does not match."""
    found = _fields(text, fmt)
    if not found:
        return None
    today = datetime.now(UTC)
    year, month, day = found.get("Y"), found.get("M"), found.get("D")
    if year is None:  # missing fields on the left are those of today, the others are the smallest
        year = today.year
        if month is None:
            month = today.month
            day = today.day if day is None else day
    month = 1 if month is None else month
    day = 1 if day is None else day
    hour, minute, second = (found.get(k, 0) for k in "Hms")
    midnight = (hour, minute, second) == (24, 0, 0)
    if not (1 <= month <= 12 and year >= 1 and 1 <= day <= monthrange(year, month)[1]):
        return None
    if not ((hour <= 23 or midnight) and minute <= 59 and second <= 59):
        return None
    if midnight:
        return datetime(year, month, day) + timedelta(days=1)  # noqa: DTZ001
    return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001


def read_any(text: str, zone_name: str) -> datetime:
    """`text` in the first format that matches, as wall-clock time without a zone."""
    for fmt in FORMATS:
        moment = read(text.strip(), fmt)
        if moment is not None:
            return moment
    raise BadDateError(f"Unable to parse the date: {text} with timezone: {zone_name}")


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z, as in every answer."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def days(start: object, end: object) -> tuple[str, str | None, bool]:
    """The same before 2.14.9: UTC days, and the midnight after the end is included."""
    first, last = (read(text, "D/M/Y") if isinstance(text, str) else None for text in (start, end))
    if first is None or (end and last is None):
        raise BadDateError
    return (
        stamp(first.replace(tzinfo=UTC)),
        stamp(last.replace(tzinfo=UTC) + timedelta(days=1)) if last else None,
        True,
    )


def window(start: object, end: object, zone_name: str) -> tuple[str | None, str | None, bool]:
    """The first stamp, the last stamp, and whether the last one is included.

    `start` and `end` are the parameters of the client, None or empty if not sent. A date without a
    time of day means the whole day in that zone. With one, both ends are included.
    """
    tz = zone(zone_name)
    first = last = None
    inclusive = False
    if start:
        _must_be_text(start)
        moment = read_any(str(start), zone_name)
        if not _TIME_OF_DAY.search(str(start)):
            moment = moment.replace(hour=0, minute=0, second=0)
        first = stamp(moment.replace(tzinfo=tz))
    if end:
        _must_be_text(end)
        moment = read_any(str(end), zone_name)
        inclusive = bool(_TIME_OF_DAY.search(str(end)))
        if not inclusive:
            moment = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        last = stamp(moment.replace(tzinfo=tz))
    return first, last, inclusive


def _must_be_text(value: object) -> None:
    if not isinstance(value, str):
        shown = ",".join(map(str, value)) if isinstance(value, list) else "[object Object]"
        raise BadDateError(f"The date must be a string: {shown}")
