"""Secrets are removed from the text of a page, and what is left there is removed row by row."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from tiledesk import secret_fields
from tiledesk.arrow import read_page
from tiledesk.tables import SECRETS
from tiledesk.typed import undecoded

NAMES = st.sampled_from([*SECRETS][:4]) | st.sampled_from(["a", "secrets", 'x"secret', "\\"])
TEXTS = NAMES | st.sampled_from(['{"secret":"x"}', '"secret":', ',"secret":"x"', "\\", '"', "é😀"])
JSON = st.recursive(
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False, width=16),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
PAGES = st.lists(st.dictionaries(NAMES, JSON, max_size=5), max_size=3)
SPACED = st.sampled_from([(",", ":"), (", ", ": "), (" , ", ":"), (",", " :")])


def removed(body: bytes) -> Any:
    """What is left of the rows of a page in both steps."""
    text, names = secret_fields.cut(body)
    rows = msgspec.json.decode(text, type=list[dict[str, Raw]])
    return msgspec.json.decode(
        msgspec.json.encode([secret_fields.without(row, names) for row in rows])
    )


@settings(max_examples=120, deadline=None)
@given(PAGES, SPACED, st.booleans())
@example([{"secret": 1, "pass": None}], (",", ":"), False)
@example([{"a": 1, "secret": "\\", "pass": [{"pass": 2}], "b": '"secret":1'}], (",", ":"), False)
def test_what_is_left_of_a_page_is_all_but_the_secrets(
    page: list[dict[str, Any]], spaced: tuple[str, str], is_ascii: bool
) -> None:
    body = json.dumps(page, separators=spaced, ensure_ascii=is_ascii).encode()
    assert removed(body) == secret_fields.without_any(page)


@pytest.mark.parametrize("value", ['"x"', "1.50", "null", "true", '"\\"secret\\":1,\\\\"'])
@pytest.mark.parametrize(
    ("before", "after"),
    [("{", "}"), ('{"a":1,', "}"), ("{", ',"b":[1]}'), ('{"a":1,', ',"b":"c"}')],
)
def test_a_plain_secret_needs_no_second_step(before: str, after: str, value: str) -> None:
    for secrets in (f'"secret":{value}', f'"secret":{value},"pass":{value},"gptkey":2'):
        body = f"[{before}{secrets}{after}]".encode()
        text, names = secret_fields.cut(body)
        assert not names
        assert json.loads(text) == secret_fields.without_any(json.loads(body))


@pytest.mark.parametrize("value", ["1", '"x"', '{"a":1}'])
@pytest.mark.parametrize("name", ["\\u0073ecret", "s\\u0065cret", "secre\\u0074"])
def test_a_name_with_escaped_letters_is_found(name: str, value: str) -> None:
    body = f'[{{"_id":"1","{name}":{value},"b":{{"{name}":{value},"c":2}}}}]'.encode()
    (row,) = read_page(body).rows
    assert {key: json.loads(bytes(raw)) for key, raw in undecoded(row).items()} == {
        "_id": "1",
        "b": {"c": 2},
    }


def test_an_answer_that_is_not_json_is_refused_before_anything_is_cut() -> None:
    for body in (b'["a","secret":1,"b"]', b'[{"a":"x,"secret":1,y"}]', b'[{"a":1"secret":1}]'):
        with pytest.raises(msgspec.DecodeError):
            secret_fields.cut(body)
