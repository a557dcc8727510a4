"""Each commit tries some of the expensive tests, and several commits try all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

import variations

VARIED = [f"t.py::varied[{number}]" for number in range(30)]
DRAWN = ["t.py::a[1]", "t.py::a[2]", "t.py::b", "t.py::c", "t.py::d"]
OTHERS = ["t.py::plain[1]", "t.py::plain[2]"]


class Item:
    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        if name == "varied" and self.nodeid in VARIED:
            return pytest.mark.varied.mark
        if name == "drawn" and self.nodeid in DRAWN:
            return pytest.mark.drawn("group").mark
        return None


class Config:
    def __init__(self, wish: str) -> None:
        self.wish = wish
        self.hook = self

    def getoption(self, name: str) -> str:
        return self.wish

    def pytest_deselected(self, items: Sequence[Item]) -> None:
        self.deselected = {item.nodeid for item in items}


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def run(seed: int | None, wish: str = "commit") -> list[str]:
        monkeypatch.setattr(variations, "commit_seed", lambda: seed)
        config = Config(wish)
        items = [Item(nodeid) for nodeid in (*VARIED, *DRAWN, *OTHERS)]
        before = {item.nodeid for item in items}
        variations.pytest_collection_modifyitems(config, items)  # type: ignore[arg-type]
        found = [item.nodeid for item in items]
        assert getattr(config, "deselected", set()) == before - set(found)
        return found

    return run


def test_a_commit_tries_some_variations_and_whole_tests_of_a_group(
    tried: Callable[..., list[str]],
) -> None:
    for seed in range(20):
        found = tried(seed)
        assert found == tried(seed)
        assert sum(nodeid in VARIED for nodeid in found) == 3
        of_group = {nodeid.partition("[")[0] for nodeid in found if nodeid in DRAWN}
        assert len(of_group) == 2
        assert ("t.py::a[1]" in found) == ("t.py::a[2]" in found)
        assert set(OTHERS) <= set(found)


def test_several_commits_try_all(tried: Callable[..., list[str]]) -> None:
    every = {*VARIED, *DRAWN, *OTHERS}
    assert {nodeid for seed in range(200) for nodeid in tried(seed)} == every


def test_all_are_tried_when_asked_for_and_outside_a_repository(
    tried: Callable[..., list[str]],
) -> None:
    every = [*VARIED, *DRAWN, *OTHERS]
    assert tried(1, "all") == every
    assert tried(None) == every
