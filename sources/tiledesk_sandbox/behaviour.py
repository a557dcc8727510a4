"""How older versions of the server differ. No endpoint tells the version.

A behaviour is named after what the newest versions do. Contract 9.2 says since which version.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """What a version of the server can do. A version that cannot do it ignores the parameter
    silently.

    Attributes:
        supports_time_filters: dates have a time of day and a zone, an end may stand alone, and
            ``filterRangeField`` also counts together with an end. Otherwise dates are UTC days.
        lists_statuses: ``status`` may be a list. Otherwise that is a 500.
        shows_preflight: ``preflight=true`` adds conversations that have not begun. Otherwise nobody
            can read them.
        shows_history: the list is complete when the plan has expired. Otherwise ``status=all``
            gives what was created in the last 14 days, unless a date for ``createdAt`` is sent.
        joins_on_demand: ``no_populate`` counts. Otherwise references are always joined.
        counts_on_demand: ``no_count`` counts. Otherwise the count is always true.
        limits_activities: ``limit`` and ``chart`` count. Otherwise a page has 40 rows.
        notes_last_message: a message moves its conversation, which keeps a copy of the message in
            ``attributes.last_message``.
        has_permissions: memberships have permissions, and the super admin may not read the list of
            conversations. Otherwise the super admin sees those they take part in.
    """

    supports_time_filters: bool = True
    lists_statuses: bool = True
    shows_preflight: bool = True
    shows_history: bool = True
    joins_on_demand: bool = True
    counts_on_demand: bool = True
    limits_activities: bool = True
    notes_last_message: bool = True
    has_permissions: bool = True


VERSIONS = {
    "2.19.16": Behaviour(),
    "2.14.5": Behaviour(
        supports_time_filters=False,
        limits_activities=False,
        notes_last_message=False,
        has_permissions=False,
    ),
    "2.9.20": Behaviour(
        supports_time_filters=False,
        lists_statuses=False,
        shows_preflight=False,
        shows_history=False,
        limits_activities=False,
        notes_last_message=False,
        has_permissions=False,
    ),
}
NEWEST = "2.19.16"
