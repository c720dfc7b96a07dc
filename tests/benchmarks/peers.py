"""What peers cost on the same input, as JSON lines; run in an environment of their own, which has none of ours.

    python tests/benchmarks/peers.py CALL.json TEXTS.jsonl ROUNDS

CALL.json is the body of a CDS Hooks call, TEXTS.jsonl has one report on each line under `text`. HealthChain answers the
call with a card that is made beforehand: it reads nothing and rules on nothing. negspacy reads the reports for terms
that are given, over a blank pipeline.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

TERMS = ("stenosis", "narrowing", "canal", "foramen", "ligamentum flavum", "disc bulge", "osteophyte", "hypertrophy")


def main(call: str, texts: str, rounds: str) -> None:
    reports = [json.loads(line)["text"] for line in Path(texts).read_text("utf-8").splitlines()]
    size = sum(map(len, reports)) / 1000
    _tell(
        "HealthChain, a card made beforehand", "healthchain", _costs(_healthchain(Path(call).read_bytes()), int(rounds))
    )
    told = _costs(_negspacy(reports), max(2, int(rounds) // 100), warm=1)
    _tell("negspacy over a blank pipeline, each kB", "negspacy", [cost / size for cost in told])


def _tell(name: str, package: str, costs: list[float]) -> None:
    print(json.dumps({"name": name, "version": version(package), "costs": costs}), flush=True)


def _costs(run: Callable[[], None], rounds: int, warm: int = 5) -> list[float]:
    """CPU microseconds of each round, after some that warm up."""
    for _ in range(warm):
        run()
    costs = []
    for _ in range(rounds):
        begun = time.process_time_ns()
        run()
        costs.append((time.process_time_ns() - begun) / 1000)
    return costs


def healthchain_app() -> Any:
    """HealthChain's own application with one service, which answers with a card that is made beforehand."""
    from healthchain.gateway import CDSHooksService, HealthChainAPI
    from healthchain.models.responses.cdsresponse import Card, CDSResponse

    app, service = HealthChainAPI(), CDSHooksService()

    @service.hook("patient-view", id="bench", title="Bench", description="A card made beforehand")
    def fixed(request: Any) -> Any:
        card = Card(summary="x" * 100, indicator="info", source={"label": "bench"}, detail="x" * 1400)
        return CDSResponse(cards=[card])

    app.register_service(service, path="/cds")
    return app


def _healthchain(body: bytes) -> Callable[[], None]:
    app, loop = healthchain_app(), asyncio.new_event_loop()
    return lambda: loop.run_until_complete(_called(app, body))


async def _called(app: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    path = "/cds/cds-services/bench"
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers}
    scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
    sent = iter([{"type": "http.request", "body": body, "more_body": False}])
    statuses = []

    async def receive() -> Any:
        return next(sent, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    if statuses != [200]:
        sys.exit(f"HealthChain answered {statuses}, so nothing is measured.")


def _negspacy(reports: list[str]) -> Callable[[], None]:
    import spacy
    from negspacy.negation import Negex  # noqa: F401 - its import registers the component

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "FINDING", "pattern": [{"LOWER": word} for word in term.split()]} for term in TERMS])
    pipeline.add_pipe("negex")
    return lambda: [None for _ in pipeline.pipe(reports)] and None


if __name__ == "__main__":
    main(*sys.argv[1:])
