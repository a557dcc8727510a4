"""Request ids as the API has them, for those that stand here under a pseudonym."""

from __future__ import annotations

from functools import cached_property

from tiledesk.arrow import texts
from tiledesk.privacy import PSEUDONYM, Privacy
from tiledesk.project import Project
from tiledesk.streams.requests import listed
from tiledesk.tables import MESSAGES, REQUESTS
from tiledesk.walks import Window


class RequestIds:
    """Request ids here and in the API: the same unless they were made pseudonyms or left out.

    The list of conversations is read at most once: when an id is needed that only the list has.

    Attributes:
        privacy: what a load does to personal data.
    """

    def __init__(self, project: Project, privacy: Privacy) -> None:
        self._project = project
        self.privacy = privacy

    def in_destination(self, request_id: str) -> str | None:
        """What an id of the API reads as in ``messages.recipient``."""
        return self.privacy.value(MESSAGES, "recipient", request_id)

    def in_api(self, name: str | None) -> str | None:
        """The API's id; None if this user is shown no conversation with this pseudonym."""
        if name is None or not PSEUDONYM.fullmatch(name):
            return name
        return self._by_pseudonym.get(name)

    @cached_property
    def left_out(self) -> list[str]:
        """The ids of the API that were left out here."""
        return [key for key in self._listed if not self._in_requests(key)]

    @cached_property
    def _by_pseudonym(self) -> dict[str | None, str]:
        return {
            name(key): key
            for key in self._listed
            for name in (self.in_destination, self._in_requests)
        }

    @cached_property
    def _listed(self) -> list[str]:
        pages = (
            texts(batch.rows, "request_id") for batch in listed(self._project, Window("createdAt"))
        )
        return [key for page in pages for key in page if key]

    def _in_requests(self, request_id: str) -> str | None:
        return self.privacy.value(REQUESTS, "request_id", request_id)
