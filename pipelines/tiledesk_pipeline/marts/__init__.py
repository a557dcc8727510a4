"""The marts: tables that answer a support desk's questions, made from the loaded tables.

`pipelines/dbt_tiledesk` holds their SQL, once. :mod:`.staging` makes its first layer from the
declaration of the tables. :mod:`.compiled` is what dbt compiles of the others for DuckDB, so that
:func:`.run.transform` needs no dbt.
"""

from __future__ import annotations

from .run import MartSettings, Transformed, transform

__all__ = ["MartSettings", "Transformed", "transform"]
