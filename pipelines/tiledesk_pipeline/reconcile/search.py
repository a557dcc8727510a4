"""Finds where two lists differ, by ever smaller parts of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol


class Mark(NamedTuple):
    """How many rows lie before a place, in the API and in the destination.

    Attributes:
        place: what the rows are ordered by: a time, or an id.
        page: the number of the page in the API's list; only for lists that are searched by page.
    """

    place: Any
    in_api: int
    in_destination: int
    page: int = 0


class Listing(Protocol):
    """A list of the API and its rows in the destination."""

    def is_small(self, start: Mark, end: Mark) -> bool:
        """Whether reading all rows between two marks costs no more than halving them."""
        ...

    def middle(self, start: Mark, end: Mark) -> Mark:
        """A mark between two others; costs one call."""
        ...

    def read(self, start: Mark, end: Mark) -> None:
        """Compare all rows between two marks."""
        ...


def search(listing: Listing, start: Mark, end: Mark, suspects: Collection[Any] = ()) -> None:
    """Read the parts between two marks that differ in number, or that contain a suspect.

    The calls for one missing row grow with the logarithm of the length of the list. If nothing
    differs, no call is made.
    """
    suspects = [place for place in suspects if start.place <= place <= end.place]
    if end.in_api - start.in_api == end.in_destination - start.in_destination and not suspects:
        return
    if listing.is_small(start, end):
        listing.read(start, end)
        return
    between = listing.middle(start, end)
    search(listing, start, between, suspects)
    search(listing, between, end, suspects)
