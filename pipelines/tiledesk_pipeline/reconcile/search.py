"""Where two lists differ, by ever smaller parts of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol


class Mark(NamedTuple):
    """How many rows lie before a place, there and here.

    Attributes:
        place: what the rows are ordered by: a time, or an id.
        page: where that is in the API's list, in pages; only for lists that are searched so.
    """

    place: Any
    there: int
    here: int
    page: int = 0


class Listing(Protocol):
    """A list of the API beside the rows that are here."""

    def is_small(self, start: Mark, end: Mark) -> bool:
        """Whether to read all between two marks costs no more than to look in its middle."""
        ...

    def middle(self, start: Mark, end: Mark) -> Mark:
        """A mark between two: one call."""
        ...

    def read(self, start: Mark, end: Mark) -> None:
        """Compare all between two marks, row by row."""
        ...


def search(listing: Listing, start: Mark, end: Mark, suspects: Collection[Any] = ()) -> None:
    """Read those parts between two marks that differ in number, or that hold a suspect's place.

    One row that is missing costs the logarithm of the list's length in calls; where nothing
    differs, there is none.
    """
    suspects = [place for place in suspects if start.place <= place <= end.place]
    if end.there - start.there == end.here - start.here and not suspects:
        return
    if listing.is_small(start, end):
        listing.read(start, end)
        return
    between = listing.middle(start, end)
    search(listing, start, between, suspects)
    search(listing, between, end, suspects)
