"""A load whose answers come from memory: ``replay.py record | replay``, then arguments of ``load``.

It is the connector's own load with all it does; only the socket is missing. `record` keeps what
the server answers, `replay` answers the same calls with it.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import httpx

ANSWERS = Path("answers.pickle")
Answers = dict[tuple[str, str], tuple[int, list[tuple[bytes, bytes]], bytes]]


def main() -> None:
    mode = sys.argv.pop(1)
    answers: Answers = pickle.loads(ANSWERS.read_bytes()) if mode == "replay" else {}
    over_the_wire = httpx.HTTPTransport.handle_request

    def record(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        response = over_the_wire(self, request)
        kept = response.status_code, response.headers.raw, response.read()
        answers[request.method, str(request.url)] = kept
        return response

    def replay(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        status, headers, body = answers[request.method, str(request.url)]
        return httpx.Response(status, headers=headers, content=body, request=request)

    httpx.HTTPTransport.handle_request = record if mode == "record" else replay  # type: ignore[method-assign]
    from tiledesk_pipeline.cli import main as load

    try:
        load()
    finally:
        if mode == "record":
            ANSWERS.write_bytes(pickle.dumps(answers))


if __name__ == "__main__":
    main()
