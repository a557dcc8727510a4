"""Makes text from outside safe for a terminal and for a log file."""

from __future__ import annotations

import logging
import re
import unicodedata

LONGEST = 500

_PLAIN = re.compile(r"[ -~]*")
# Whole escape sequences: those with strings (OSC, such as the links of OSC 8; DCS, SOS, PM, APC),
# those with parameters (CSI), and all others. Each begins with ESC or with one character of the C1
# set. Of a string without an end, only the first character matches, so that it cannot hide the
# text that follows.
_ESCAPES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n\r]{0,2000}(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b\[|\x9b)[0-?]{0,100}[ -/]{0,10}[@-~]"
    r"|\x1b[ -/]{0,10}[0-~]"
)
_SPACES = re.compile(r"[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_JOINER = "\u200d"  # joins the parts of an emoji
_MARK = r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
_MARKS = re.compile(f"({_MARK}{{4}}){_MARK}+")  # many of them on one letter reach into other lines


def printable(text: object, longest: int = LONGEST) -> str:
    """The text on one line, at most `longest` characters long, without control over a terminal.

    Escape sequences are removed. Line breaks and tabs become a space, so that nobody can forge a
    log line. Other control characters, marks of the writing direction, invisible characters and
    halves of surrogate pairs become U+FFFD.
    """
    shown = str(text)
    if not _PLAIN.fullmatch(shown):
        shown = _SPACES.sub(" ", _ESCAPES.sub("", shown[: 20 * longest]))
        shown = _MARKS.sub(r"\1", "".join(map(_shown, shown)))
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


class PrintableRecords(logging.Filter):
    """Makes the messages of a logger printable."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage(), 4 * LONGEST), None
        return True


def _shown(character: str) -> str:
    is_other = unicodedata.category(character)[0] == "C" and character != _JOINER
    return "\ufffd" if is_other else character
