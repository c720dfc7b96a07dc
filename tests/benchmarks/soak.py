"""Whether the memory of a worker is flat: calls of many kinds for an hour, and what it takes meanwhile.

    python -m tests.benchmarks.soak [--minutes 60] [--clients 2]

The service is started as an operator starts it, with one worker and SQLite in a temporary folder. The share of memory
that is the worker's own (PSS) is looked at 200 times; what it is in the last tenth of the time is held against what it
was in the tenth after the first.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from uuid import UUID

from tests.benchmarks import hook
from tests.benchmarks.figures import Goal, heading, pss, tell
from tests.records import ASSIST, BARE, CHECK, HOOK, bundle, condition
from tests.running import Running, serving

SAMPLES = 200
JSON = {"Content-Type": "application/json"}
FHIR = {"Content-Type": "application/fhir+json"}
Request = tuple[str, str, bytes, dict[str, str], int]  # method, path, body, headers, the status that is right


def main() -> None:
    """Print the table; exit status 1 when a call was answered wrongly."""
    parser = argparse.ArgumentParser(description="Memory of a worker under calls of many kinds.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=2)
    options = parser.parse_args()
    with TemporaryDirectory() as name, serving(Path(name), workers=1) as service:
        answered, memory = soaked(service, options.minutes * 60, options.clients)
    tell_memory(memory, options.minutes, answered)
    if wrong := {kind: number for kind, number in answered.items() if "instead of" in kind}:
        sys.exit(f"Calls were answered wrongly: {wrong}")


def requests() -> dict[str, Request]:
    """A call of each kind; the hook's ones are made to be no retries when they are sent."""
    calls = hook.calls()
    judged = json.dumps(bundle(condition(), condition(BARE, condition_id="c2"))).encode()
    return {
        "hook, in scope": ("POST", HOOK, calls[hook.IN_SCOPE], JSON, 200),
        "hook, out of scope": ("POST", HOOK, calls[hook.OUT_OF_SCOPE], JSON, 200),
        "hook, 100 Conditions and 32 kB": ("POST", HOOK, calls[hook.LARGE], JSON, 200),
        "hook, not JSON": ("POST", HOOK, b'{"hook": ', JSON, 400),
        "$coding-assist": ("POST", ASSIST, judged, FHIR, 200),
        "$check": ("POST", CHECK, judged, FHIR, 200),
        "$validate": ("POST", "/fhir/Condition/$validate", json.dumps(condition()).encode(), FHIR, 200),
        "CapabilityStatement": ("GET", "/fhir/metadata", b"", {}, 200),
        "metrics": ("GET", "/metrics", b"", {}, 200),
        "rules": ("GET", "/rules", b"", {}, 200),
        "no such page": ("GET", "/nowhere", b"", {}, 404),
    }


def soaked(service: Running, seconds: float, clients: int = 2) -> tuple[Counter[str], list[float]]:
    """How often each kind of call was answered, and MiB of the worker at even times."""
    memory, over, numbers = list[float](), threading.Event(), count()
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/healthz"):
        pass  # the port is open before there is a worker
    worker, begun = _worker(service.process.pid), time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        callers = [pool.submit(_call, service.port, over, numbers) for _ in range(clients)]
        try:
            for sample in range(1, SAMPLES + 1):
                time.sleep(max(0.0, begun + sample * seconds / SAMPLES - time.monotonic()))
                memory.append(pss(worker))
        finally:
            over.set()
    return sum((caller.result() for caller in callers), Counter()), memory


def growth(memory: list[float]) -> float:
    """Percent by which the last tenth lies above the tenth that comes after the first."""
    tenth = max(1, len(memory) // 10)
    before, after = median(memory[tenth : 2 * tenth]), median(memory[-tenth:])
    return (after / before - 1) * 100


def tell_memory(memory: list[float], minutes: float, answered: Counter[str]) -> None:
    """The table."""
    heading(f"{minutes:g} minutes, {sum(answered.values()):,} calls")
    for kind, number in answered.items():
        tell(f"{kind}, calls", [number])
    tenth = max(1, len(memory) // 10)
    tell("the worker's memory in the second tenth, MiB of PSS", memory[tenth : 2 * tenth], None, 1)
    tell("in the last tenth, MiB", memory[-tenth:], None, 1)
    tell("growth from the one to the other, percent", [growth(memory)], Goal(5), 1)


def _call(port: int, over: threading.Event, numbers: count[int]) -> Counter[str]:
    answered = Counter[str]()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kinds = requests()
    while not over.is_set():
        for kind, (method, path, body, headers, right) in kinds.items():
            number = next(numbers)
            own = body.replace(hook.PLACEHOLDER, str(UUID(int=number, version=4)).encode())
            own = own.replace(hook.RECORD, b"ACC%07d" % number)
            connection.request(method, path, own, headers)
            answer = connection.getresponse()
            content = answer.read()
            answered[kind if answer.status == right else f"{kind}: {_wrong(answer.status, right, content)}"] += 1
    connection.close()
    return answered


def _wrong(status: int, right: int, content: bytes) -> str:
    """What came instead, and the service's own sentence on it."""
    try:
        said = json.loads(content)["issue"][0]["diagnostics"]
    except (ValueError, KeyError, TypeError):
        said = "no OperationOutcome"
    return f"{status} instead of {right}: {said}"


def _worker(main: int) -> int:
    """The process that answers."""
    return int(Path(f"/proc/{main}/task/{main}/children").read_text().split()[0])


if __name__ == "__main__":
    main()
