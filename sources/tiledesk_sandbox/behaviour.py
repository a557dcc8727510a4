"""What servers of other versions do otherwise; there is no endpoint that tells a version.

Each behaviour is named by what the newest servers do; contract 9.2 says since when.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Behaviour:
    """What a server can do; one that cannot ignores the parameter, and says nothing.

    Attributes:
        heeds_time: a date has a time of day and a zone, an end may stand alone, and
            ``filterRangeField`` counts beside an end, too. Else dates are UTC days.
        lists_statuses: ``status`` may be a list; else that is a 500.
        shows_preflight: ``preflight=true`` adds conversations that have not begun; else they
            cannot be had.
        shows_history: the list is whole when the plan has expired; else ``status=all`` gives
            what was created in the last 14 days, unless a date for ``createdAt`` is sent.
        joins_on_demand: ``no_populate`` counts; else references are always joined.
        counts_on_demand: ``no_count`` counts; else the count is always true.
        limits_activities: ``limit`` and ``chart`` count; else there are 40 to a page.
        notes_last_message: a message moves its conversation, which keeps a copy of it in
            ``attributes.last_message``.
        has_permissions: memberships have permissions, and the super admin is refused the list
            of conversations; else it is shown those it takes part in.
    """

    heeds_time: bool = True
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
        heeds_time=False,
        limits_activities=False,
        notes_last_message=False,
        has_permissions=False,
    ),
    "2.9.20": Behaviour(
        heeds_time=False,
        lists_statuses=False,
        shows_preflight=False,
        shows_history=False,
        limits_activities=False,
        notes_last_message=False,
        has_permissions=False,
    ),
}
NEWEST = "2.19.16"
