"""The report: one HTML page with charts, made from the marts.

`charts.py` draws with Altair when the package is built (`make docs`), so that a report needs
nothing but DuckDB. `facts.py` reads the marts, `page.py` writes the page. In the browser, `page.js`
hands the chosen conversations to the charts.
"""

from __future__ import annotations

from .facts import Facts, read
from .page import write

__all__ = ["Facts", "read", "write"]
