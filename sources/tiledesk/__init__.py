"""Tiledesk, the open-source live chat, as a dlt source.

import dlt
from tiledesk import tiledesk_source

pipeline = dlt.pipeline("desk", destination="duckdb", dataset_name="tiledesk")
pipeline.run(tiledesk_source())
"""

from .credentials import TiledeskCredentials
from .errors import TiledeskError
from .observer import Observer
from .source import open_projects, tiledesk_source

__all__ = ["Observer", "TiledeskCredentials", "TiledeskError", "open_projects", "tiledesk_source"]
