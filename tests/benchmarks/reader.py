"""What it costs to read: CPU per kB of report, how the cost grows, and other readers where they are installed.

    python tests/benchmarks/reader.py

Absolute times drift between machines and minutes; compare the ratios, which are all measured in the same run. The unit
is a plain regular expression that cuts the same text into words.
"""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service import compiled
from service.coding.lexicon import Lexicon
from service.coding.model import Passage
from service.coding.narrative import read
from service.coding.packs import load_terminology
from service.shipped import terminology_dir

DATA = Path(__file__).parent.parent / "data" / "reports.jsonl"
WORD = re.compile(r"\w+|[^\w\s]")
PACKS = 50


def main() -> None:
    """Print the table."""
    texts = [json.loads(line)["text"] for line in DATA.read_text("utf-8").splitlines()]
    reports = [text for text in texts if len(text) >= 500]
    lexicon = load_terminology(terminology_dir()).lexicon
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as in a worker
    unit = _cost(lambda text: [(m.group(), m.start()) for m in WORD.finditer(text)], reports)
    ours = _cost(lambda text: read(_passage(text), lexicon), reports)
    _say("cutting into words, the unit", unit, 1.0)
    how = "compiled" if compiled.is_current() else "from source"
    _say(f"reading {len(reports)} reports, {how}", ours, ours / unit)
    _percentiles(reports, lexicon)
    _growth(reports, lexicon)
    packs = _with_packs()
    many = _cost(lambda text: read(_passage(text), packs), reports)
    _say(f"the same with the terms of {PACKS} packs", many, many / ours, "times one pack")
    for name, reader in _others():
        other = _cost(reader, reports)
        _say(name, other, other / ours, "times ours")


def _passage(text: str) -> Passage:
    return Passage(text, "DiagnosticReport/r", "DiagnosticReport.conclusion", "report")


def _cost(reader: Callable[[str], Any], texts: list[str], rounds: int = 7) -> float:
    """The least CPU microseconds per kB of several rounds, after one that warms up."""
    size, best = sum(map(len, texts)) / 1000, float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        for text in texts:
            reader(text)
        best = min(best, (time.process_time() - begun) * 1e6 / size)
    return best


def _percentiles(reports: list[str], lexicon: Lexicon, size: int = 2000) -> None:
    """Reports put together to 2 kB each, as they come from an EHR; the least CPU time of several rounds for each."""
    whole = "\n\n".join(reports)
    cut = [whole[at : at + size] for at in range(0, len(whole) - size, size)]
    costs = sorted(_cost(lambda text: read(_passage(text), lexicon), [text]) * size / 1000 for text in cut)
    half, late = costs[len(costs) // 2], costs[len(costs) * 95 // 100]
    print(f"{'a report of 2 kB, p50 and p95':44}{half:8.0f} us CPU, {late:.0f} us CPU ({len(cut)} reports)")


def _growth(reports: list[str], lexicon: Lexicon) -> None:
    whole = "\n\n".join(reports * 4)
    costs = {}
    for size in (32, 128):
        text = whole[: size * 1000]
        costs[size] = _cost(lambda t: read(_passage(t), lexicon), [text], rounds=5) * size
    print(f"{'cost of 128 kB / cost of 32 kB':44}{costs[128] / costs[32]:8.2f}  (4.00 is linear)")


def _with_packs() -> Lexicon:
    """The shipped lexicon with 100 terms more for each further pack, given as a site gives its own."""
    concepts = [
        {
            "kind": "other-organ",
            "terms": [f"pack {number} organ {letter}{other}" for letter in "abcdefghij" for other in "abcdefghij"],
        }
        for number in range(2, PACKS + 1)
    ]
    with TemporaryDirectory() as folder:
        site = Path(folder) / "site.yaml"
        site.write_text(json.dumps({"sources": ["made up for this benchmark"], "concepts": concepts}))
        return load_terminology(terminology_dir(), site).lexicon


def _others() -> list[tuple[str, Callable[[str], Any]]]:
    """Readers of others, set up as their own pages show; no lock file of ours has them, so their types are unknown."""
    found: list[tuple[str, Callable[[str], Any]]] = []
    if find_spec("medspacy"):
        import medspacy  # type: ignore[import-not-found]

        found.append(("medspaCy, its default pipeline", medspacy.load()))
    if find_spec("negspacy") and find_spec("spacy"):
        import spacy  # type: ignore[import-not-found]
        from negspacy.negation import Negex  # type: ignore[import-not-found]  # noqa: F401

        pipeline = spacy.blank("en")
        pipeline.add_pipe("sentencizer")
        pipeline.add_pipe("entity_ruler").add_patterns([{"label": "FINDING", "pattern": "stenosis"}])
        pipeline.add_pipe("negex", config={"ent_types": ["FINDING"]})
        found.append(("negspacy over a blank pipeline", pipeline))
    return found


def _say(what: str, cost: float, ratio: float, told: str = "units") -> None:
    print(f"{what:44}{cost:8.0f} us CPU per kB {ratio:8.2f} {told}")


if __name__ == "__main__":
    main()
