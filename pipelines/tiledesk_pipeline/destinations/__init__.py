"""What is known of each destination: one file, one class a kind of destination.

To add one, add a file with dlt's name of the destination: ``destinations/snowflake.py`` for
``--destination snowflake``. It holds a subclass of :class:`Destination` that is named in
``KIND``, and overrides what the destination does in its own way:

    class Snowflake(Destination):
        has_comments = True

        def lock(self, pipeline): ...

    KIND = Snowflake

Commands, loads and comparisons ask :func:`destination_of` for the class. Once tests on the engine
show that its tables hold the same rows as DuckDB's, its name goes into
:data:`tiledesk.destination.SUPPORTED`, which a plain dlt pipeline is held to as well.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import cast

from dlt.common.destination import Destination as DestinationReference

from tiledesk.destination import SUPPORTED, USE, require_supported
from tiledesk.errors import UnsupportedDestination

from .base import Busy, Destination, Patience

__all__ = ["Busy", "Destination", "Patience", "destination_of"]


def destination_of(name: str, db: Path, dataset: str, patience: Patience) -> Destination:
    """A dataset in a destination.

    Args:
        name: dlt's name of the destination, the name that a configuration gives one, or the path of
            a class.
        db: the file, for DuckDB.
        dataset: the dataset (schema).
        patience: how long to wait for others who use it.

    Raises:
        UnsupportedDestination: tables in it would not be right.
    """
    kind = _kind_of(name)
    destination = cast(type[Destination], import_module(f"{__name__}.{kind}").KIND)
    return destination(name, db, dataset, patience)


def _kind_of(name: str) -> str:
    if name in SUPPORTED:
        return name
    try:
        reference = DestinationReference.from_reference(name)
    except Exception:  # dlt has an error for each way in which a name leads nowhere
        reference = None
    if reference is None:
        raise UnsupportedDestination(f"There is no such destination as {name!r}. Use {USE}.")
    require_supported(reference)
    return DestinationReference.to_name(reference.destination_type)
