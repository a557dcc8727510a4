"""A load whose answers come from memory: ``replay.py record | replay``, then arguments of ``load``.

It is the connector's normal load without the socket. `record` keeps the server's answers, and
`replay` answers the same calls with them.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import httpcore

ANSWERS = Path("answers.pickle")
Answers = dict[tuple[str, str], tuple[int, list[tuple[bytes, bytes]], bytes]]


def main() -> None:
    mode = sys.argv.pop(1)
    answers: Answers = pickle.loads(ANSWERS.read_bytes()) if mode == "replay" else {}
    over_the_wire = httpcore.ConnectionPool.handle_request

    def record(self: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
        response = over_the_wire(self, request)
        kept = response.status, response.headers, response.read()
        response.close()
        answers[request.method.decode(), bytes(request.url).decode()] = kept
        return httpcore.Response(kept[0], headers=kept[1], content=kept[2])

    def replay(self: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
        status, headers, body = answers[request.method.decode(), bytes(request.url).decode()]
        return httpcore.Response(status, headers=headers, content=body)

    httpcore.ConnectionPool.handle_request = record if mode == "record" else replay  # type: ignore[method-assign]
    from tiledesk_pipeline.cli import main as load

    try:
        load()
    finally:
        if mode == "record":
            ANSWERS.write_bytes(pickle.dumps(answers))


if __name__ == "__main__":
    main()
