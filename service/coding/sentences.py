"""Cuts a note or report into sections and sentences, offsets kept.

A sentence ends at a full stop, a new line that is no wrap, or a bullet; a semicolon only ends a clause. Headings say
whether what stands below them counts (`terminology/lexicon/sections.yaml`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from service.coding.levels import SPOKEN

_SPOKEN = "|".join(SPOKEN)
_LONGEST_HEADING = 64
_LONGEST_SENTENCE = 700  # characters; the longest of our 398 labelled reports and notes has 515
_SPOKEN_COLON = re.compile(r" colon(?=\s)")
_BEFORE_HEADING = re.compile(r"(?s:.*)(?:[\n.;:!?\])]|\s\s)")
# In capitals and known or not, a heading ends what stood before: 'HOSPITAL COURSE:' after 'REVIEW OF SYSTEMS:'.
_UNKNOWN_HEADING = re.compile(r"[A-Z]{4,}(?: [A-Z/&]{2,}){0,6}")
_UNKNOWN_LABEL = re.compile(r"[A-Z][A-Za-z0-9/-]*(?: [A-Za-z0-9/-]+){0,6}")
_NAMES_IMAGING = re.compile(r"\b(?:MRI|MR|CT|XR|[Xx]-?rays?|[Ii]maging|[Rr]adiographs?)\b")
_ENDS_A_DATE = frozenset("0123456789)")
_DATED = re.compile(r"[ \t](?:\(?\d[\d/.-]{3,9}\)?(?: \d\d:?\d\d)?|#?\d)$")  # and numbered: 'ADDENDUM #2:'
_ASIDE = re.compile(r"[ \t]*\([^()\n]*\)$")  # 'ADDENDUM (same radiologist):'
_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_BEHIND_A_STOP = _CAPITALS | frozenset("\"')]")
_QUESTION = re.compile(r"\?(?<=\w\?)(?=\s|$)")
_SLASHES = re.compile(r"/(?=/[/\s])")
_ABBREVIATIONS = frozenset(
    (
        "lig ligg approx vs dr mr mrs ms st fig e.g i.e etc incl resp post ant lat bilat mod sev min max hx dx pt ca "
        "cf lt rt inf sup m.r.i lumb cerv thor conn tiss sten stenos degen spond stab jr sr prof inc sec prob poss "
        "susp hypertr spin neur tx"
    ).split()
)
_LONGEST_ABBREVIATION = max(map(len, _ABBREVIATIONS))
_BEFORE_A_STOP = 11  # characters: more than any of these has
_LAST_WORD = re.compile(r"[^A-Za-z.]")
_BULLET = re.compile(r"\s*(?:[-*•·>|]|\(?\d{1,2}[.)]|[a-zA-Z][.)])\s+")


_HEADING_SPEAKS = frozenset({"imaging", "anatomy", "uncertain"})  # 'MRI:', 'Spinal canal:' belong to what follows
_COUNTING = _HEADING_SPEAKS | {"findings"}


class Section:
    """A stretch under one heading; `counts` is one of the keys of `terminology/lexicon/sections.yaml`.

    An `aspect` is a heading inside a section that says what is looked at: 'Canal: patent'. `is_finding` tells whether
    what stands here is said of the patient now.
    """

    __slots__ = ("aspect", "counts", "end", "is_finding", "name", "start")

    def __init__(self, name: str, counts: str, start: int, end: int, *, aspect: bool = False) -> None:
        self.name, self.counts, self.start, self.end, self.aspect = name, counts, start, end, aspect
        self.is_finding = counts in _COUNTING


class Span:
    """One sentence: characters `start` to `end`, in which section, at the head of a paragraph or not."""

    __slots__ = ("end", "new_paragraph", "section", "start")

    def __init__(self, start: int, end: int, section: Section, new_paragraph: bool) -> None:
        self.start, self.end, self.section, self.new_paragraph = start, end, section, new_paragraph


class Headings:
    """What `terminology/lexicon/sections.yaml` knows: what counts below which heading, under which a report's body
    stands (`bodies`), and the words at which a dictation without a sign turns to something else (`turns`).
    """

    def __init__(self, counts: Mapping[str, str], bodies: Iterable[str] = (), turns: Iterable[str] = ()) -> None:
        self.counts, self.bodies = dict(counts), frozenset(bodies)
        level = rf"at (?:the )?[CTLDSctlds] ?-?(?:\d|{_SPOKEN})"
        self.turns = re.compile(rf" (?=(?:{'|'.join([*map(re.escape, turns), level])})\b)")


_Head = tuple[str, str, int, int]  # name, what it counts as, start, start of what stands below


def find_sections(text: str, known: Headings) -> list[Section]:
    """The sections in order; text before the first heading counts as findings."""
    heads = sorted({*_labels(text, known.counts), *_heading_lines(text, known.counts)}, key=lambda head: head[2])
    heads = _ending_what_is_no_finding([("", "findings", 0, 0), *heads])
    has_body = any(name in known.bodies for name, *_ in heads)
    sections: list[Section] = []
    for (name, counts, at, content), following in zip(heads, [*heads[1:], None], strict=True):
        end = following[2] if following else len(text)
        start = at if counts in _HEADING_SPEAKS else content
        if end > start:
            sections.extend(_section(text, Section(name, counts, start, end), sections, has_body=has_body))
    return sections


def _ending_what_is_no_finding(heads: Iterable[_Head]) -> list[_Head]:
    """A heading that nobody knows ('Clinical narrative:') only ends a section that is no finding."""
    ending: list[_Head] = []
    counting = True
    for name, counts, at, content in heads:
        if counts != "unknown":
            counting = counts in _COUNTING
            ending.append((name, counts, at, content))
        elif not counting:
            counting = True
            ending.append((name, "findings", at, content))
    return ending


def _section(text: str, section: Section, before: Sequence[Section], *, has_body: bool) -> Iterator[Section]:
    """An aspect ('Canal: patent') goes on with the findings before it; a brief section ends with its line."""
    if section.counts == "anatomy":
        outer = before[-1] if before and before[-1].is_finding else Section("", "findings", 0, 0)
        yield Section(outer.name, outer.counts, section.start, section.end, aspect=True)
    elif not section.is_finding:
        asks = (section.counts == "indication" or section.name == "history") and not has_body
        is_line = section.counts == "brief" or (asks and not _is_alone(text, section))
        end = _end_of_line(text, section) if is_line else _end_of_paragraph(text, section)
        yield Section(section.name, section.counts, section.start, end)
        if end < section.end:
            yield Section("", "findings", end, section.end)
    else:
        yield section


_LONG_PARAGRAPH = 300  # characters: an operation is described in several such paragraphs
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")


def _end_of_paragraph(text: str, section: Section) -> int:
    """'Plan: listed for surgery' is a paragraph; a heading that stands alone on its line holds until the next one."""
    if _is_alone(text, section):
        return section.end
    blank = _BLANK_LINE.search(text, section.start, section.end)
    end = blank.start() if blank else section.end
    return section.end if section.counts == "other" and end - section.start > _LONG_PARAGRAPH else end


def _is_alone(text: str, section: Section) -> bool:
    """Whether the heading has nothing behind it on its line."""
    return not text[section.start : section.end].split("\n", 1)[0].strip()


def _end_of_line(text: str, section: Section) -> int:
    """The end of the first line that says something, with the lines that it is wrapped into."""
    at = section.start + len(text[section.start : section.end]) - len(text[section.start : section.end].lstrip())
    while (at := text.find("\n", at, section.end)) >= 0:
        if not _is_wrap(text, at):
            return at
        at += 1
    return section.end


def _labels(text: str, known: Mapping[str, str]) -> list[_Head]:
    """The headings that a colon closes."""
    found: list[_Head] = []
    colons = [(at, at + 1) for at in _places_of(text, ":", 0, len(text)) if not text[at + 1 : at + 2].isdecimal()]
    if " colon" in text:
        colons += [(match.start(), match.end()) for match in _SPOKEN_COLON.finditer(text)]
    for colon, content in colons:
        start = max(0, colon - _LONGEST_HEADING)
        aside = _ASIDE.search(text[start:colon]) if text[colon - 1] == ")" else None
        stop = start + aside.start() if aside else colon
        before = _BEFORE_HEADING.match(text, start, stop)
        written = text[before.end() if before else start : stop].rstrip(" \t")
        written = (_DATED.sub("", written) if written[-1:] in _ENDS_A_DATE else written).strip(" \t-*•#")
        name = " ".join(written.lower().split())
        if name in known and (len(name) > 2 or written.isupper()):
            found.append((name, known[name], text.rindex(written, start, colon), content))
        elif not written or written[0] not in _CAPITALS:
            continue
        elif written[1:2] in _CAPITALS and _UNKNOWN_HEADING.fullmatch(written):
            at = text.rindex(written, start, colon)
            found.append((name, "findings", at, at))
        elif _UNKNOWN_LABEL.fullmatch(written):
            at = text.rindex(written, start, colon)
            if at == 0 or text[at - 1] == "\n" or _NAMES_IMAGING.search(written):
                found.append((name, "unknown", at, at))
    return found


def _heading_lines(text: str, known: Mapping[str, str]) -> list[_Head]:
    """The headings that have a line of their own."""
    found: list[_Head] = []
    at = 0
    for line in text.split("\n") if "\n" in text else ():
        written = line.strip(" \t-–—*=#") if len(line) <= _LONGEST_HEADING else ""
        name = " ".join(written.lower().split()) if written[-1:] not in _NO_END_OF_HEADING else ""
        if written[-1:] in _ENDS_A_DATE and known.get(undated := _DATED.sub("", name)) == "findings":
            name = undated  # '*** ADDENDUM 07/19/2026 11:02 ***'
        if len(name) > 3 and name in known and (known[name] not in _HEADING_SPEAKS or not written.islower()):
            begin = at + line.index(written)
            found.append((name, known[name], begin, begin + len(written)))
        at += len(line) + 1
    return found


_NO_END_OF_HEADING = frozenset(("", ".", ":", ";", ","))


def find_sentences(text: str, known: Headings) -> list[Span]:
    """The sentences of every section, in order."""
    found: list[Span] = []
    dictated = "period" in text or " line" in text or "paragraph" in text
    for section in find_sections(text, known):
        found.extend(_cut(text, section, known.turns, dictated=dictated))
    return found


_BLANKS = " \t\r\n"


def _cut(text: str, section: Section, turns: re.Pattern[str], *, dictated: bool) -> list[Span]:
    found: list[Span] = []
    start = section.start
    paragraph = not section.aspect or text[max(0, start - 3) : start].count("\n") > 1
    breaks = _written_breaks(text, section)
    if dictated:
        breaks = sorted({*breaks, *_spoken_breaks(text, section)})
    for at in _bounded(text, section.start, [*breaks, section.end], turns):
        piece = text[start:at]
        words = piece.strip(_BLANKS)
        if len(words) > 1 or words.isalnum():
            begin = at - len(piece.lstrip(_BLANKS))
            end = begin + len(words)
            # A letter is none but before a sign ('a)'): to know it costs less than to look for one.
            bullet = None if words[0].isalpha() and words[1:2] not in (".", ")") else _BULLET.match(text, begin, at)
            begin = bullet.end() if bullet else begin
            if begin < end:
                found.append(Span(begin, end, section, paragraph))
            paragraph = False
        elif piece.count("\n") + text.startswith("\n", at) >= 2:
            paragraph = True
        start = at
    return found


_RUNS_ON = 300  # characters; of a dictation without a sign


def _bounded(text: str, start: int, breaks: Sequence[int], turns: re.Pattern[str]) -> list[int]:
    """The breaks, and more where a sentence would not end: its words are compared in pairs."""
    bounded: list[int] = []
    for at in breaks:
        if at - start > _RUNS_ON:
            turned = [match.start() for match in turns.finditer(text, start, at)]
            bounded.extend(turned)
            start = turned[-1] if turned else start
        while at - start > _LONGEST_SENTENCE:
            blank = text.rfind(" ", start + _LONGEST_SENTENCE // 2, start + _LONGEST_SENTENCE)
            start = blank if blank > 0 else start + _LONGEST_SENTENCE
            bounded.append(start)
        bounded.append(at)
        start = at
    return bounded


_SPOKEN_SIGN = re.compile(r"\b(?:period|new paragraph|next paragraph|new line|next line)(?=\s|$)")
_TIME = frozenset("a an the this that of time long short same rest recovery healing follow-up any each over".split())


def _spoken_breaks(text: str, section: Section) -> Iterator[int]:
    """'... is patent period new paragraph': what dictation left standing; 'over a period of weeks' is a time."""
    for match in _SPOKEN_SIGN.finditer(text, section.start, section.end):
        before = text[max(section.start, match.start() - 24) : match.start()].split()
        if not before or before[-1].lower() not in _TIME:
            yield match.end()


def _written_breaks(text: str, section: Section) -> list[int]:
    """Where sentences end, in order: before a new line, behind a sign."""
    start, end = section.start, section.end
    breaks = [at for at in _places_of(text, "\n", start, end) if not _is_wrap(text, at)]
    for at in _places_of(text, ".", start, end):
        if _may_stop(text, at, end) and (not _is_abbreviated(text, start, at) or _NEXT_LEVEL.match(text, at + 1)):
            breaks.append(at + 1)
    breaks += [at + 1 for at in _places_of(text, "!", start, end) if _may_stop(text, at, end)]
    if text.find("?", start, end) >= 0:
        asked = [match.end() for match in _QUESTION.finditer(text, start, end)]
        breaks += [at for at in asked if not _inside_number(text, at)]
    if text.find("//", start, end) >= 0:
        breaks += [match.end() for match in _SLASHES.finditer(text, start, end)]
    if text.find("|", start, end) >= 0:
        breaks = [at for at in breaks if not _BAR_FOLLOWS.match(text, at)]
        breaks += [match.start() for match in _FIELD.finditer(text, start, end)]
    breaks += _numbered(text, section)
    breaks += _level_by_level(text, section)
    if text.find("[", start, end) >= 0 or text.find("( )", start, end) >= 0:
        breaks += [match.end() for match in _ANSWERED.finditer(text, start, end)]
    if text.find("; the ", start, end) >= 0:
        breaks += [match.end() for match in _OTHER_SIDE.finditer(text, start, end)]
    return sorted(set(breaks))


def _places_of(text: str, sign: str, start: int, end: int) -> list[int]:
    """Where a sign stands, in order; to find one costs a tenth of what a pattern for all of them does."""
    places: list[int] = []
    at = text.find(sign, start, end)
    while at >= 0:
        places.append(at)
        at = text.find(sign, at + 1, end)
    return places


def _may_stop(text: str, at: int, end: int) -> bool:
    """Whether what stands behind a stop may begin a sentence."""
    return at + 1 < end and (text[at + 1].isspace() or text[at + 1] in _BEHIND_A_STOP)


_OTHER_SIDE = re.compile(r";(?= the (?:left|right)(?: one| side)? (?:is|remains)\b)")
_BAR_FOLLOWS = re.compile(r"[ \t]*\|")  # '| mod. sten. | patent |': the row goes on
_FIELD = re.compile(r"\|(?=[ \t]*[A-Z][A-Za-z ]{1,24}:)")  # 'Exam: MR sacrum | Canal: normal': each for itself
# 'Canal stenosis [ ] yes [x] no  Foraminal stenosis ...': a pair of boxes answers what stands before it.
_BOX = r"[\[(][ xX✓✔_]?[\])]\s?(?:yes|no|y|n)\b"
_ANSWERED = re.compile(rf"(?<=[\w?:)])[ \t]+{_BOX}[ \t,/]*{_BOX}(?=[ \t;,]+\w)", re.I)


# A blank first, so that the search passes quickly over all else.
_LEVEL_BEGINS = re.compile(
    rf" (?:(?=at (?:the )?[ctlds] ?-?(?:\d|{_SPOKEN})(?:[ctlds0-9/ -]|{_SPOKEN}){{0,8}} there (?:is|are)\b)"
    rf"|(?=[ctlds] (?:{_SPOKEN})(?: [ctlds])? (?:{_SPOKEN}) (?:is|are|shows)\b)(?<! at )(?<! to )(?<! or )(?<!and ))",
    re.I,
)


def _level_by_level(text: str, section: Section) -> list[int]:
    """'... are unremarkable at c4 c5 there is ...': dictated without a sign, each level begins a sentence."""
    start, end = section.start, section.end
    if not any(text.find(word, start, end) >= 0 for word in (" there ", "five ", "six ", "seven ")):
        return []
    return [match.start() for match in _LEVEL_BEGINS.finditer(text, start, end)]


# The digit first, so that the search passes quickly over all else.
_NUMBERED = re.compile(r"([1-9])[.)]\s(?:(?<=[\s:]...)|(?<=[\s:]\(...))", re.DOTALL)


def _numbered(text: str, section: Section) -> list[int]:
    """Before each item of a list in one line: 'Dx: 1. radiculopathy L5  2. spinal stenosis'."""
    start, end = section.start, section.end
    if (text.find("2.", start, end) < 0 and text.find("2)", start, end) < 0) or (
        text.find("1.", start, end) < 0 and text.find("1)", start, end) < 0
    ):
        return []
    items = list(_NUMBERED.finditer(text, start, end))
    if len(items) < 2 or [int(item[1]) for item in items] != list(range(1, len(items) + 1)):
        return []
    return [item.start() - text.startswith("(", item.start() - 1) for item in items]


_NEXT_LEVEL = re.compile(r"\s+[CTLSDctlsd]\d[^\s:]{0,8}:")  # 'stenosis N. L3-4: ...': no initial of a name


def _is_abbreviated(text: str, start: int, stop: int) -> bool:
    """'lig.', 'e.g.' and the like, or the initial of a name, before a stop of a section that begins at `start`."""
    written = text[max(start, stop - _BEFORE_A_STOP) : stop]
    if not written or not (written[-1].isalpha() or written[-1] == "."):
        return False
    word = written[written.rfind(" ") + 1 :]
    if not (word.isascii() and word.isalpha()):  # as most are
        word = _LAST_WORD.split(written)[-1]
    elif len(word) > _LONGEST_ABBREVIATION:
        return False
    word = word.lower()
    last = word.rpartition(".")[2] if "." in word else word
    if word in _RESULTS and text.startswith(" for ", stop + 1):
        return True
    return word in _ABBREVIATIONS or last in _ABBREVIATIONS or (len(last) == 1 and _is_initial(written))


_RESULTS = frozenset({"neg", "pos"})  # 'MRI neg. for stenosis'; not in 'SLR neg. For pain ...'


def _is_initial(written: str) -> bool:
    """Of a name, 'Dr J. Smith'; not in 'the sac is squeezed to a Y.', nor in 'narrowed on the L.'."""
    before = written.split()[:-1]
    return not before or before[-1][0].isupper() or before[-1][-1] == "." or not before[-1].isalpha()


def _inside_number(text: str, at: int) -> bool:
    return 1 < at < len(text) and text[at - 2].isdigit() and text[at].isdigit()


def _is_wrap(text: str, at: int) -> bool:
    """A line broken inside a sentence: the line is long or ends in a comma, and the next goes on in lower case."""
    if (at and text[at - 1] in _ENDS_A_LINE) or text.startswith("\n", at + 1):
        return False
    line_start = text.rfind("\n", 0, at) + 1
    line, rest = text[line_start:at].rstrip(), text[at + 1 : at + 60]
    following = rest.lstrip(" \t")
    if not line or not following or following[0] == "\n" or _BULLET.match(following):
        return False
    if line[-1] in _ENDS_A_LINE:
        return False
    if line[-1] in ",(" or (line[-1] == "-" and line[-2:-1].isalnum()) or line.endswith(_JOINING):
        return True
    if len(line) >= _WIDE and line.isupper():
        first = following.split(maxsplit=1)[0].lower()
        return ":" not in rest[:_SHORT_HEADING] and (line.lower().endswith(_JOINING) or first in _GOES_ON)
    return (following[0].islower() and len(line) >= 30) or (
        following[0].islower() and len(line) > 3 and following.split(maxsplit=1)[0] in _GOES_ON
    )


_ENDS_A_LINE = frozenset(".!?:")
_JOINING = (
    " and",
    " or",
    " the",
    " of",
    " with",
    " to",
    " at",
    " a",
    " in",
    " by",
    " from",
    " is",
    " are",
    " which",
    " due",
)
_WIDE, _SHORT_HEADING = 50, 24  # characters; of a line in capitals, and of a label that opens the next one
_GOES_ON = frozenset(
    (
        "and or of with without at due causing compressing which to from secondary by narrowing resulting thecal "
        "level levels on in the"
    ).split()
)
