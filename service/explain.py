"""One record in the terminal: its words with the evidence marked, the elements, the rules that fired, what is asked."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule as HeadLine
from rich.table import Table
from rich.text import Text

from service.assist import Answer, Judged
from service.coding.lexicon import Lexicon
from service.coding.model import (
    REQUIRED,
    Alternative,
    Assessment,
    Citation,
    Element,
    Evidence,
    Issue,
    Option,
    Passage,
    Query,
    Question,
    Rule,
    RuleHit,
    Step,
)
from service.coding.packs import FOREVER, Terminology

WIDTH = 100
# One colour for each element; a narrowing is underlined, because the words for space and region lie within it.
ELEMENT_STYLES = {
    "narrowing": "underline",
    "space": "bold cyan",
    "tissue": "bold magenta",
    "region": "bold yellow",
    "framing": "bold blue",
    "certainty": "bold red",
    "imaging.modality": "green",
    "imaging.date": "green",
    "imaging.finding": "green",
    "function": "bold green",
    "care": "cyan",
}
_WORD_STYLES = {
    "documented": "green", "met": "green", "code-supported": "bold green",
    "missing": "yellow", "gap": "yellow", "query": "bold yellow", "uncertain": "yellow", "warning": "yellow",
    "conflicting": "red", "conflict": "red", "error": "bold red",
    "negated": "dim", "information": "dim", "not-applicable": "bold", "not-assessed": "bold", "out-of-scope": "bold",
}  # fmt: skip
# POLICY section 6
_DISPOSITIONS = {
    "code-supported": "The documentation supports a code.",
    "query": "A code needs more than is documented, so the provider is asked.",
    "not-applicable": "Negated, historical, refuted or complete elsewhere: no code of these families.",
    "not-assessed": "The code is of a family without a pack; only its validity was checked.",
    "out-of-scope": "No stenosis, canal or family code is in the record.",
}
_SETTINGS = {"charting": "while charting", "claim": "before a claim"}
_BLANKS, _BLANK_LINES = re.compile(r"\s+"), re.compile(r"\n\s*\n\s*")
# Words of a record must not steer the terminal: escape sequences, carriage returns, right-to-left overrides.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Mark = tuple[int, int, str]
PassageKey = tuple[str, str]
Letters = Mapping[PassageKey, str]


def explain(answer: Answer, terminology: Terminology, console: Console) -> None:
    """Print the record once, then what each Condition came to, then what concerns the claim as a whole."""
    assessments = [judged.assessment for judged in answer.judged]
    texts = _texts(assessments)
    letters = {key: _letter(number) for number, key in enumerate(texts)}
    print_block(console, "The record", _record(texts, letters, _marks(assessments)))
    for judged in answer.judged:
        _explain_condition(judged, letters, terminology, console)
    if answer.issues:
        print_block(console, "The claim as a whole", [_flags(answer.issues)])


def print_block(console: Console, title: str, content: Iterable[RenderableType], *, indent: int = 2) -> None:
    """A title and what stands under it; nothing when there is nothing."""
    shown = list(content)
    if shown:
        console.print(Text(title, style="bold"))
        console.print(Padding(Group(*shown), (0, 0, 1, indent)))


def clean(words: str) -> str:
    """Words of the record without characters that would steer the terminal."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", words.replace("\r\n", "\n"))


def _explain_condition(judged: Judged, letters: Letters, terminology: Terminology, console: Console) -> None:
    assessment = judged.assessment
    _print_verdict(assessment, console)
    print_block(console, "Suggestion", _suggestions(assessment, terminology))
    print_block(console, "Candidates", _candidates(assessment, terminology))
    print_block(console, "Elements", _elements(assessment.elements, letters))
    print_block(console, "How it was read", _statements(assessment, letters, terminology.lexicon))
    print_block(console, "Questions to the provider", _questions(judged.query, letters) if judged.query else ())
    print_block(console, "Rules that fired", _rules(assessment.hits))
    print_block(console, "Not these codes", _alternatives(assessment.alternatives))
    print_block(console, "Flags", [_flags(assessment.issues)] if assessment.issues else ())


def _print_verdict(assessment: Assessment, console: Console) -> None:
    documentation, disposition = assessment.documentation, assessment.disposition
    title = Text.assemble(clean(documentation.condition), "  ", (disposition, _WORD_STYLES[disposition]))
    console.print(HeadLine(title, align="left", characters="─", style="dim"))
    judged = f"Date of service {documentation.date_of_service or 'unknown'}, judged {_SETTINGS[documentation.setting]}."
    console.print(Padding(Text.assemble(_DISPOSITIONS[disposition], (f"\n{judged}", "dim")), (0, 0, 1, 0)))


# --- the record's words -------------------------------------------------------------------------------------------


def _legend() -> Text:
    """The elements in their colours; the three of imaging share one."""
    names = dict.fromkeys((name.partition(".")[0], style) for name, style in ELEMENT_STYLES.items())
    return Text("  ").join(Text(name, style=style) for name, style in names)


def _texts(assessments: Iterable[Assessment]) -> dict[PassageKey, Passage]:
    """Each text of the record once, whichever Condition reads it; then what else was quoted, such as a date."""
    found: dict[PassageKey, Passage] = {}
    for assessment in assessments:
        documentation = assessment.documentation
        places = [f.evidence.passage for f in (*documentation.sites, *documentation.exam_places) if f.evidence]
        quoted = [evidence.passage for element in assessment.elements for evidence in element.evidence]
        for passage in [*(reading.passage for reading in documentation.readings), *places, *quoted]:
            found.setdefault(_key(passage), passage)
    return found


def _key(passage: Passage) -> PassageKey:
    return passage.source, passage.expression


def _letter(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letter(number // 26 - 1) if number > 25 else "") + chr(ord("A") + number % 26)


def _record(
    texts: Mapping[PassageKey, Passage], letters: Letters, marks: Mapping[PassageKey, set[Mark]]
) -> Iterator[RenderableType]:
    if not texts:
        yield Text("It has no text.")
        return
    yield _legend()
    for key, passage in texts.items():
        about = ", ".join(filter(None, [_place(passage), passage.author, passage.date, passage.status]))
        yield Text.assemble("\n", (letters[key], "bold"), (f"  {clean(about)}", "dim"))
        yield Padding(_marked(passage, sorted(marks.get(key, ()))), (0, 0, 0, 3))


def _marks(assessments: Iterable[Assessment]) -> dict[PassageKey, set[Mark]]:
    found: dict[PassageKey, set[Mark]] = {}
    for assessment in assessments:
        for element in assessment.elements:
            _mark(found, element.evidence, ELEMENT_STYLES[element.name])
        for hit in assessment.hits:
            if hit.rule.kind == "redirects":  # why the framing is another one
                _mark(found, hit.evidence, ELEMENT_STYLES["framing"])
    return found


def _mark(found: dict[PassageKey, set[Mark]], evidence: Iterable[Evidence], style: str) -> None:
    for one in evidence:
        found.setdefault(_key(one.passage), set()).add((one.start, one.end, style))


def _marked(passage: Passage, marks: Sequence[Mark]) -> Text:
    """The text with its evidence in colour: where marks overlap, the shorter one gives the colour."""
    edges = sorted({0, len(passage.text), *(edge for start, end, _ in marks for edge in (start, end))})
    marked = Text()
    for start, end in pairwise(edges):
        covering = [mark for mark in marks if mark[0] <= start and end <= mark[1]]
        longest_first = sorted(covering, key=lambda mark: mark[0] - mark[1])
        marked.append(_readable(passage, start, end), style=" ".join(style for _, _, style in longest_first))
    return marked


def _readable(passage: Passage, start: int, end: int) -> str:
    words = passage.text[start:end]
    if passage.markup:  # its tags are blanked out, and line breaks mean nothing in HTML
        words = html.unescape(_BLANKS.sub(" ", words))
        words = words if start else words.lstrip()
    return clean(_BLANK_LINES.sub("\n", words))


def _place(passage: Passage) -> str:
    """`Condition/c1 code.text`: the type is not said twice."""
    kind, _, path = passage.expression.partition(".")
    expression = path if passage.source.startswith(f"{kind}/") else passage.expression
    return clean(f"{passage.source} {expression}")


def _quoted(evidence: Evidence) -> Text:
    quote = _BLANKS.sub(" ", clean(evidence.quote)).strip()
    return Text(f"“{quote}”")


# --- what it came to ----------------------------------------------------------------------------------------------


def _titled(code: str, assessment: Assessment, terminology: Terminology) -> str:
    icd10cm = terminology.icd10cm
    on = assessment.documentation.date_of_service or icd10cm.newest.in_force_from
    return icd10cm.title(code, on) or icd10cm.title(code) or ""


def _suggestions(assessment: Assessment, terminology: Terminology) -> Iterator[RenderableType]:
    if not assessment.suggestions:
        return
    grid = _grid()
    for suggestion in assessment.suggestions:
        title = _titled(suggestion.code, assessment, terminology)
        notes = "".join(f"\n{note}" for note in suggestion.notes)
        grid.add_row(Text(suggestion.code, style="bold green"), Text.assemble(title, (clean(notes), "dim")))
    yield grid


def _candidates(assessment: Assessment, terminology: Terminology) -> Iterator[RenderableType]:
    if not assessment.candidates:
        return
    grid = _grid()
    for candidate in assessment.candidates:
        awaits = f"awaits {', '.join(candidate.awaits)}" if candidate.awaits else ""
        title = _titled(candidate.code, assessment, terminology)
        grid.add_row(Text(candidate.code, style="bold"), Text.assemble(title, ("  " + awaits, "yellow")))
    yield grid


def _elements(elements: Sequence[Element], letters: Letters) -> Iterator[RenderableType]:
    if not elements:
        return
    grid = _grid(no_wrap=2)
    for element in elements:
        quiet = element.status == "missing" and element.name not in REQUIRED
        status = Text(element.status, style="dim" if quiet else _WORD_STYLES[element.status])
        name = Text(element.name, style=ELEMENT_STYLES[element.name])
        grid.add_row(name, status, Text(clean(", ".join(element.values))), _evidence(element.evidence, letters))
    yield grid


def _evidence(evidence: Iterable[Evidence], letters: Letters) -> Text:
    """The quotes, each with the letter of its text."""
    shown = dict.fromkeys((str(_quoted(one)), letters[_key(one.passage)]) for one in evidence if one.quote)
    return Text("\n").join(Text.assemble(quote, (f" {letter}", "dim")) for quote, letter in shown)


def _statements(assessment: Assessment, letters: Letters, lexicon: Lexicon) -> Iterator[RenderableType]:
    """Each statement on narrowing: the words and rules of linking that made it, its section, forgiven spelling."""
    grid = _grid()
    for reading in assessment.documentation.readings:
        for statement in reading.statements:
            told = Text.assemble(_quoted(statement.evidence), (f" {letters[_key(reading.passage)]}", "dim"))
            for step in statement.steps:
                told.append("\n").append_text(_step(step, reading.passage))
            for written, read in lexicon.corrections(statement.evidence.quote):
                told.append(f"\n  spelling   {clean(written)} read as {read}", style="dim")
            grid.add_row(Text(statement.assertion, style=_WORD_STYLES.get(statement.assertion, "")), told)
    if grid.row_count:
        yield grid


def _step(step: Step, passage: Passage) -> Text:
    if step.role == "section":
        return Text(f"  section    {clean(step.rule)}", style="dim")
    words = _BLANKS.sub(" ", clean(_readable(passage, step.start, step.end))).strip()
    return Text.assemble((f"  {step.role:11}", "dim"), f"“{words}”", (f" {step.rule}", "dim"))


def _questions(query: Query, letters: Letters) -> Iterator[RenderableType]:
    """The indicators with their numbers, then the questions, whose options refer to them."""
    indicators = _grid()
    for number, evidence in enumerate(query.indicators, 1):
        quote = Text.assemble(_quoted(evidence), (f" {letters.get(_key(evidence.passage), '')}", "dim"))
        indicators.add_row(Text(_superscript(number), style="dim"), quote)
    yield indicators
    questions = _grid()
    for number, question in enumerate(query.questions, 1):
        questions.add_row(Text(f"{number}."), _question(question))
    yield Padding(questions, (1 if query.indicators else 0, 0, 0, 0))


def _question(question: Question) -> RenderableType:
    answer = {"choice": "", "text": "  free text", "date": "  a date"}[question.kind]
    asked = Text.assemble(clean(question.text), "  ", (question.element, ELEMENT_STYLES[question.element]))
    asked.append(answer, style="dim")
    if question.kind != "choice":
        return asked
    options = [*question.options, Option("other", "Other"), Option("unable-to-determine", "Unable to determine")]
    return Group(asked, *map(_option, options))


def _option(option: Option) -> Text:
    rests_on = " ".join(map(_superscript, option.indicators))
    return Text.assemble(f"( ) {clean(option.text)}", (f" {rests_on}", "dim"))


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _rules(hits: Sequence[RuleHit]) -> Iterator[RenderableType]:
    """What each rule found, with the citations numbered and listed once below."""
    if not hits:
        return
    numbers = {cite: number for number, cite in enumerate(dict.fromkeys(c for hit in hits for c in hit.rule.cites), 1)}
    grid = _grid(no_wrap=2)
    for hit in hits:
        cited = " ".join(f"[{numbers[cite]}]" for cite in hit.rule.cites)
        says = Text.assemble(clean(hit.says or hit.rule.says), " ", (cited, "dim"))
        grid.add_row(Text(hit.outcome, style=_WORD_STYLES[hit.outcome]), Text(hit.rule.id), says)
    yield grid
    yield Padding(_citations(numbers), (1, 0, 0, 0))


def _citations(numbers: Mapping[Citation, int]) -> RenderableType:
    grid = _grid()
    for cite, number in numbers.items():
        grid.add_row(Text(f"[{number}]", style="dim"), Text(f"{cite.title}: {cite.section}", style="dim"))
    return grid


def _alternatives(alternatives: Sequence[Alternative]) -> Iterator[RenderableType]:
    """Why not: codes that one and the same word of the record parts from ours stand together."""
    if not alternatives:
        return
    groups: dict[tuple[str, str], list[Alternative]] = {}
    for alternative in alternatives:
        axis, _, told = alternative.reason.partition(": ")
        _, comma, record_says = told.partition("; the record says")
        groups.setdefault((axis, f"The record says{record_says}" if comma else told), []).append(alternative)
    grid = _grid()
    for (axis, because), members in groups.items():
        reason = members[0].reason.partition(": ")[2] if len(members) == 1 else because
        reason = reason[:1].upper() + reason[1:]
        codes = ", ".join(member.code for member in members)
        grid.add_row(Text(axis), Text.assemble(clean(reason), (f"\n{codes}", "dim")))
    yield grid


def _flags(issues: Iterable[Issue]) -> RenderableType:
    grid = _grid(no_wrap=2)
    for issue in issues:
        says = Text.assemble(clean(issue.says), (f" {issue.expression} ({issue.rule})", "dim"))
        grid.add_row(Text(issue.severity, style=_WORD_STYLES[issue.severity]), Text(issue.flag), says)
    return grid


def _grid(*, no_wrap: int = 1) -> Table:
    """Columns without lines; the first ones keep to one line."""
    grid = Table.grid(padding=(0, 2))
    for _ in range(no_wrap):
        grid.add_column(no_wrap=True)
    return grid


# --- the rules themselves -----------------------------------------------------------------------------------------


def print_rules(terminology: Terminology, console: Console) -> None:
    """All rules in a table."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("rule", no_wrap=True)
    for column in ("kind", "strength", "flag", "in force"):
        table.add_column(column, overflow="fold")
    for rule in terminology.rules():
        table.add_row(rule.id, rule.kind, rule.strength, rule.flag, _in_force(rule))
    console.print(table)


def print_rule(rule_id: str, terminology: Terminology, console: Console) -> None:
    """One rule whole: as each pack and each span of time has it, and what it rests on."""
    rules = [rule for pack in terminology.packs for rule in pack.rules if rule.id == rule_id]
    versions: dict[tuple[str, ...], list[Rule]] = {}
    for rule in rules:
        versions.setdefault(tuple(_facts(rule).values()), []).append(rule)
    print_block(console, rule_id, [_version(same) for same in versions.values()])
    cites = dict.fromkeys(cite for rule in rules for cite in rule.cites)
    print_block(console, "It rests on", [Text("\n\n").join(map(_citation, cites))])


def _version(same: Sequence[Rule]) -> RenderableType:
    grid = _grid()
    for name, value in {"packs": ", ".join(rule.pack for rule in same), **_facts(same[0])}.items():
        if value:
            grid.add_row(Text(name, style="dim"), Text(value))
    return Padding(grid, (0, 0, 1, 0))


def _facts(rule: Rule) -> dict[str, str]:
    settings = {name: _spelled(value) for name, value in rule.settings.items()}
    return {"says": rule.says, "kind": rule.kind, **settings, "flag": rule.flag, "in force": _in_force(rule)}


def _spelled(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_spelled(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_spelled, value))
    return str(value)


def _citation(cite: Citation) -> Text:
    told = Text.assemble(f"{cite.title}: {cite.section}", (f", read {cite.read}\n", "dim"), (cite.url, "dim"))
    return told.append(f"\n“{cite.quote}”", style="italic") if cite.quote else told


def _in_force(rule: Rule) -> str:
    until = f" to {rule.in_force_until}" if rule.in_force_until != FOREVER else ""
    return f"{rule.in_force_from}{until}" if until else f"from {rule.in_force_from}"
