"""Draws what `tiledesk-dlt demo` prints: ``python -m tiledesk_pipeline.picture`` (`make docs`)."""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.terminal_theme import MONOKAI

from . import display
from .demo import demo
from .progress import Progress

FILE = Path(__file__).parents[2] / "docs" / "demo.svg"
WIDTH = 92
# rich's own frame loads a font from the network.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
<rect fill="#0c0c0c" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture() -> str:
    """The output of a demo, as SVG."""
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False
    )
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(display, "out", console):
        before = Path.cwd()
        os.chdir(folder)  # the output names the file as it was given
        try:
            db = Path("demo.duckdb")
            display.say(("$ make demo", "bold"))
            display.show_demo(demo(2000, db, Progress()), db)
            display.say()
        finally:
            os.chdir(before)
    return console.export_svg(title="", theme=MONOKAI, code_format=FRAME, unique_id="demo")


def words(svg: str) -> str:
    """The text of a picture without its figures, which are others each day."""
    return re.sub(r"<[^>]*>|&#160;|[\d.,:\s-]+", " ", svg.partition("<defs>")[2])


if __name__ == "__main__":
    drawn = picture()
    if words(drawn) != words(FILE.read_text(encoding="utf-8")):
        FILE.write_text(drawn, encoding="utf-8")
