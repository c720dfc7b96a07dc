"""What a batch found, as one HTML page that a coder can read: figures, charts, the questions to be asked.

It stands by itself: no script, no address is loaded, and no word of a patient is in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from service.assist import SOFTWARE
from service.batch import Tally
from service.coding.packs import Terminology
from service.deferred import Deferred

if TYPE_CHECKING:
    import jinja2
else:
    jinja2 = Deferred("jinja2")

SEVERITIES = ("error", "warning", "information")
ANSWERS = ("code-supported", "query")
SHOWN = 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a chart: what it is about, its pieces in percent of the longest line, and how many."""

    label: str
    about: str
    pieces: tuple[tuple[str, float], ...]
    counts: tuple[int, ...]


def write_summary(stream: BinaryIO, tally: Tally, inputs: Sequence[str], terminology: Terminology) -> None:
    """Write the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("service", "web/templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    says = {rule.id: rule.says for rule in terminology.rules()}
    asked = {
        name: str(element.get("asks", "")).replace("{finding}", "the finding")
        for name, element in terminology.main.elements.items()
    }
    page = environment.get_template("bulk_summary.html").render(
        tally=tally,
        inputs=inputs,
        software=SOFTWARE,
        severities=SEVERITIES,
        answers=ANSWERS,
        by_rule=bars(tally.rules, SEVERITIES, lambda rule: says.get(rule, "")),
        by_region=bars(tally.regions, ANSWERS),
        by_clinic=bars(tally.clinics, ANSWERS),
        questions=bars(Counter({(name, "query"): count for name, count in tally.asks.items()}), ("query",), asked.get),
        suggestions=bars(
            Counter({(code, "code-supported"): count for code, count in tally.suggestions.items()}),
            ("code-supported",),
            lambda code: terminology.icd10cm.title(code) or "",
        ),
    )
    stream.write(page.encode())


def bars(
    counted: Counter[tuple[str, str]], kinds: Iterable[str], about: Callable[[str], str | None] = lambda label: ""
) -> list[Bar]:
    """A line for each label, the longest first, cut into its kinds."""
    totals = Counter[str]()
    for (label, _), count in counted.items():
        totals[label] += count
    longest = max(totals.values(), default=1)
    found = []
    for label, _ in sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]:
        counts = tuple(counted[label, kind] for kind in kinds)
        pieces = tuple((kind, round(100 * n / longest, 2)) for kind, n in zip(kinds, counts, strict=True) if n)
        found.append(Bar(label, about(label) or "", pieces, counts))
    return found
