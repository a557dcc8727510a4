"""What is known of each destination: one file, one class a kind of destination.

A destination without a file of its own is a :class:`Destination`. One that does something in its
own way has a file with dlt's name of it: ``destinations/snowflake.py`` for ``--destination
snowflake``. The file holds a subclass, or a function that chooses one, that is named in ``KIND``:

    class Snowflake(Destination):
        has_comments = True

        def lock(self, pipeline): ...

    KIND = Snowflake

Commands, loads and comparisons ask :func:`destination_of` for the class.
:data:`tiledesk.destination.SUPPORTED` names the destinations whose tables hold the same rows as
DuckDB's, as tests on the engines show. A plain dlt pipeline is held to it as well.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import dlt
from dlt.common.destination import Destination as DestinationReference

from tiledesk.destination import SUPPORTED, USE, WORD, require_supported
from tiledesk.errors import UnsupportedDestination

from .base import PIPELINE_NAME, Busy, Destination, Patience

__all__ = ["PIPELINE_NAME", "Busy", "Destination", "Patience", "destination_of"]


Kind: TypeAlias = Callable[[str, Path, str, Patience], Destination]


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
    module = f"{__name__}.{_kind_of(name)}"
    kind: Kind = import_module(module).KIND if find_spec(module) else Destination
    return kind(name, db, dataset, patience)


def _kind_of(name: str) -> str:
    if name in SUPPORTED:
        return name
    try:
        reference = DestinationReference.from_reference(name)
    except Exception:  # dlt has an error for each way in which a name leads nowhere
        reference = None
    if reference is None:
        raise UnsupportedDestination(f"There is no such destination as {name!r}. Use {USE}.")
    require_supported(reference, dlt.config.get(WORD, str))
    return DestinationReference.to_name(reference.destination_type)
