"""Tiledesk, the open-source live chat, as a dlt source.

import dlt
from tiledesk import tiledesk_source

pipeline = dlt.pipeline("desk", destination="duckdb", dataset_name="tiledesk")
pipeline.run(tiledesk_source())
"""

from .credentials import TiledeskCredentials
from .errors import TiledeskError
from .observer import Observer
from .settings import TiledeskSettings
from .slices import run_in_slices
from .source import open_projects, tiledesk_source
from .version import VERSION as __version__

__all__ = [
    "Observer",
    "TiledeskCredentials",
    "TiledeskError",
    "TiledeskSettings",
    "__version__",
    "open_projects",
    "run_in_slices",
    "tiledesk_source",
]
