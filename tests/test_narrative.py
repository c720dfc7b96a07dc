"""The grammar of reports, rule by rule: what a few words mean for space, place, cause and certainty.

Each case is one rule in words of our own; the labelled texts of tests/data show how often the rules are right together.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.coding.lexicon import Lexicon
from service.coding.model import Passage, Reading
from service.coding.narrative import read
from service.coding.packs import load_terminology
from service.concepts import load_concepts
from service.reader import Reader
from service.shipped import terminology_dir

KNOWLEDGE = load_terminology(terminology_dir())
CONCEPTS = load_concepts(terminology_dir() / "concepts")
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return KNOWLEDGE.lexicon


def reading(text: str, lexicon: Lexicon) -> Reading:
    return read(Passage(text, "DiagnosticReport/r", "DiagnosticReport.conclusion", "report", "2026-11-01"), lexicon)


def told(text: str, lexicon: Lexicon) -> list[str]:
    """Each statement on narrowing as 'place space assertion', with a '!' where it is only implied."""
    found = []
    for s in reading(text, lexicon).statements:
        if s.narrowing != "unstated":
            place = "+".join(s.levels or s.region_values()) or "-"
            space = s.space.value if s.space else "-"
            found.append(f"{place} {space} {s.assertion}{'!' if s.narrowing == 'implied' else ''}")
    return found


def causes(text: str, lexicon: Lexicon) -> list[str]:
    """The causes of each statement, linked ones bare and those merely beside it in brackets."""
    found = []
    for s in reading(text, lexicon).statements:
        if s.narrowing != "unstated":
            beside = [f"({value})" for value in s.tissue_values(linked=False)]
            found.append(" ".join([*s.tissue_values(linked=True), *beside]))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Strength 5/5 throughout, sensation intact to light touch", ["weakness", "paresthesia"]),
        ("Neurologically intact.", ["deficit"]),
        ("no focal deficits", ["deficit"]),
        ("Reflexes 2+ and symmetric. Gait normal.", ["reflex-change", "gait"]),
        ("sensation is not intact", []),
        ("The canal is normal, strength is decreased", []),
        ("pain 5/5", []),
    ],
)
def test_what_was_examined_and_found_as_it_should_be_is_denied(
    text: str, expected: list[str], lexicon: Lexicon
) -> None:
    found = [f.value for f in reading(text, lexicon).findings if f.element == "function" and f.assertion == "negated"]
    assert list(dict.fromkeys(found)) == expected


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("a level as a heading", "L4-5: severe canal stenosis.", ["L4-L5 canal affirmed"]),
        ("a hyphen that does not break", "canal stenosis at L3\u2011L4", ["L3-L4 canal affirmed"]),
        ("levels run together", "canal stenosis at L45 and C56", ["L4-L5+C5-C6 canal affirmed"]),
        ("one vertebra on another", "stenosis of the canal at L4 on L5", ["L4-L5 canal affirmed"]),
        ("dorsal levels", "canal narrowed at D11-12", ["T11-T12 canal affirmed"]),
        ("a range", "canal stenosis from L3 to L5", ["L3-L4+L4-L5 canal affirmed"]),
        ("dictated levels", "canal stenosis at l three dash four period no other finding", ["L3-L4 canal affirmed"]),
        ("occiput to atlas", "narrowing of the canal at C0-C1", ["C0-C1 canal affirmed"]),
        ("a range in capitals", "LUMBAR CANAL STENOSIS L2 THROUGH L4", ["L2-L3+L3-L4 canal affirmed"]),
        ("a range of segments by their vertebrae", "canal narrowing c2 c3 thru c6 c7",
         ["C2-C3+C3-C4+C4-C5+C5-C6+C6-C7 canal affirmed"]),
        ("occiput to a vertebra below the atlas", "Occiput to C2: adhesions narrow the canal",
         ["C0-C1+C1-C2 canal affirmed"]),
        ("a measurement behind a level", "the canal is narrowed at T12 to 9 mm", ["T12 canal affirmed"]),
        ("a quoted report", 'CT, pasted below:\n"L3/4: disc intact. Canal capacious."', ["L3-L4 canal negated"]),
        ("a region of its own under a level that is no label",
         "L5-S1 annular fissure. Lumbar foramina preserved.", ["lumbar foramen negated"]),
        ("a region of its own under a label", "L5-S1: annular fissure. Lumbar foramina preserved.",
         ["L5-S1 foramen negated"]),
        ("narrow or not centrally", "L5-S1 no narrowing centrally or in the foramina.",
         ["L5-S1 canal negated", "L5-S1 foramen negated"]),
        ("a checked box after one that is not", "(-) canal stenosis C4-5 (+) foraminal stenosis C5-6",
         ["C4-C5 canal negated", "C5-C6 foramen affirmed"]),
        ("not established is a doubt", "possible stenosis of neural canal of lumbar region, not established",
         ["lumbar canal uncertain"]),
        ("unable to exclude", "unable to exclude foraminal narrowing at L5-S1", ["L5-S1 foramen uncertain"]),
        ("resolved behind a bracket", "Known cervical canal stenosis (2018 MRI), resolved after laminoplasty",
         ["cervical canal historical"]),
        ("findings below a history of one line",
         "MRI LUMBAR SPINE\nHistory: leg pain.\nThere is canal stenosis at L4-5.\nOpinion: as above.",
         ["L4-L5 canal affirmed"]),
        ("a history of several lines where the findings have a heading",
         "History: leg pain.\nCanal stenosis L3-4 feared.\nFINDINGS: canal stenosis at L4-5.",
         ["L4-L5 canal affirmed"]),
        ("any label at the head of a line ends a history",
         "PMH: gout.\nMRI L spine urgent d/w radiology: canal stenosis L4/5.", ["L4-L5 canal affirmed"]),
        ("a list in one line", "Dx: 1. radiculopathy R L5  2. spinal canal stenosis", ["- canal affirmed"]),
        ("what is not there stands aside", "L4-5: flavum without ossification narrows the canal",
         ["L4-L5 canal affirmed"]),
        ("a subject that is denied", "No disc herniation narrows the canal", ["- canal negated"]),
        ("a test by what it reproduces", "Max foraminal compression R reproduces arm symptoms", []),
        ("what is only touched is not called clear", "L4/5: disc abutting thecal sac, exit canals clear",
         ["L4-L5 foramen negated"]),
        ("a side as one letter", "spur narrowing the R C5-6 IVF", ["C5-C6 foramen affirmed"]),
        ("any narrowing is no other level", "L5-S1: small protrusion. The foramina are clear of any narrowing.",
         ["L5-S1 foramen negated"]),
        ("a test explained in brackets", "Spurling's test (foraminal compression) positive on left", []),
        ("a label with hyphens ends a procedure",
         "PROCEDURE: MR\nLEVEL-BY-LEVEL:\nC3-C4: Disc: normal. Canal: no stenosis.", ["C3-C4 canal negated"]),
        ("an abbreviation before a noun", "Conn. tissue stenosis of neural canal, thoracic",
         ["thoracic canal affirmed"]),
        ("words of a report that do not apply",
         'The phrase "severe stenosis" in the impression of the withdrawn report does not apply to this patient.', []),
        ("what is not to be found", "I am unable to find the foraminal encroachment at C5-6 which he sees",
         ["C5-C6 foramen negated"]),
        ("where the operation was", "PSH: lumbar laminectomy 2016 for spinal stenosis.", ["lumbar canal historical"]),
        ("the other ones", "IVF encroachment C4-5 R, other IVFs clear",
         ["C4-C5 foramen affirmed", "- foramen negated"]),
        ("the place of what is associated",
         "Bulges at L3/L4 & L4/L5 encroaching upon both neural canals, associated with flavum hypertrophy at L4/L5",
         ["L3-L4 foramen affirmed", "L4-L5 foramen affirmed"]),
        ("no X, mild Y", "L5-S1: no canal stenosis, mild foraminal narrowing",
         ["L5-S1 canal negated", "L5-S1 foramen affirmed"]),
        ("dictated level by level", "c3 c4 is unremarkable at c4 c5 there is foraminal narrowing at c5 c6 there is "
         "narrowing of the canal", ["C4-C5 foramen affirmed", "C5-C6 canal affirmed"]),
        ("what an operation was done for", "Laminoplasty 2011. That was done for cervical canal stenosis.",
         ["cervical canal historical"]),
        ("the outlet of a muscle", "supraspinatus outlet stenosis from the acromial spur", []),
        ("no central stenosis, and what is patent",
         "C5-6 bulge. There is no central stenosis and the foramina are patent.",
         ["C5-C6 canal negated", "C5-C6 foramen negated"]),
        ("a denial before another subject", "no epidural disease and canal adequate", ["- canal negated"]),
        ("normal in position", "tonsils 2 mm above the foramen magnum, normal position", []),
        ("a joint that nobody lists", "mild talonavicular degenerative narrowing", []),
        ("a list before a bracket", "Cervical spinal stenosis C5-6, C6-7 (MRI 11/2) w/ R C7 radiculopathy",
         ["C5-C6+C6-C7 canal affirmed"]),
        ("what there was in another year",
         "In 2016 there was canal stenosis at C5-6; s/p ACDF, canal now capacious at that level.",
         ["C5-C6 canal historical", "C5-C6 canal negated"]),
        ("dictated levels with their verb", "c five six the canal is narrowed c six seven is normal",
         ["C5-C6 canal affirmed"]),
        ("imaging named within a line",
         "FH: father lumbar stenosis. Imaging today CT l-spine: the canal at L4-5 is narrowed.",
         ["L4-L5 canal affirmed"]),
        ("one region and not the other", "stenosis of neural canal, not cervical but lumbar",
         ["lumbar canal affirmed"]),
        ("a doubt at the end", "stenosis of the neural canal, lumbar region, probably", ["lumbar canal uncertain"]),
        ("a doubt of the cause at the end", "lumbar canal stenosis due to yellow ligament probably",
         ["lumbar canal affirmed"]),
        ("a risk that was explained", "I warned him of infection and late canal stenosis at L3-4", []),
        ("the foramen magnum is the canal at the head", "foramen magnum stenosis, C1 arch intact",
         ["head canal affirmed"]),
        ("rows under one space", "Neural foramina: C3-4 mild left, C4-5 patent. C5-6: severe bilateral stenosis.",
         ["C3-C4 foramen affirmed", "C4-C5 foramen negated", "C5-C6 foramen affirmed"]),
        ("rows under a heading of their own", "CANAL:\nC3-4: moderate\nC4-5: no stenosis",
         ["C3-C4 canal affirmed", "C4-C5 canal negated"]),
        ("rows of one side open", "Foraminal narrowing - L4-5: mild R, none L; L5-S1: none",
         ["L4-L5 foramen affirmed", "L5-S1 foramen negated"]),
        ("no rows under an organ", "Ear canal: C3-4 mild", []),
        ("fields under a level", "C5-6: Central canal: mild. Foramina: right moderate, left none.",
         ["C5-C6 canal affirmed", "C5-C6 foramen affirmed"]),
        ("fields on lines of their own", "C5-6\nCanal: moderate\nForamina: none", ["C5-C6 canal affirmed"]),
        ("fields in one line", "L4-5: Canal - moderate; NF - mild R, none L",
         ["L4-L5 canal affirmed", "L4-L5 foramen affirmed"]),
        ("no field with more than a grade", "L4-5: Canal: moderate disc bulge", []),
        ("no field of an organ", "Auditory canal: mild.", []),
        ("a table", "Level | Canal | Foramina\nC3-4 | mild | none\nC4-5 | severe | see text",
         ["C3-C4 canal affirmed", "C3-C4 foramen negated", "C4-C5 canal affirmed"]),
        ("the header of a table states nothing", "Level | Central stenosis\nL3-4 | none", ["L3-L4 canal negated"]),
        ("ditto", "C5-6: moderate canal stenosis. C6-7: ditto.", ["C5-C6 canal affirmed", "C6-C7 canal affirmed"]),
        ("the same of a denial", "L3-4: no canal stenosis. L4-5: same.",
         ["L3-L4 canal negated", "L4-L5 canal negated"]),
        ("similar changes", "At L3-4 there is canal stenosis. Similar changes at L4-5 but to a lesser extent.",
         ["L3-L4 canal affirmed", "L4-L5 canal affirmed"]),
        ("similar to something else", "Canal stenosis at L3-4. The L4-5 disc bulge is similar to the prior study.",
         ["L3-L4 canal affirmed"]),
        ("the place of another finding", "canal stenosis L4-5 from LF hypertrophy, disc bulge L5-S1",
         ["L4-L5 canal affirmed"]),
        ("the place of a denied finding", "canal stenosis L4-5, no nerve root compression L5-S1",
         ["L4-L5 canal affirmed"]),
        ("the place of what is beside it", "canal stenosis at L4-5 and facet arthropathy at L5-S1",
         ["L4-L5 canal affirmed"]),
        ("a further place of the same", "canal stenosis at L3-4 and to a lesser extent at L4-5",
         ["L3-L4+L4-L5 canal affirmed"]),
        ("only another finding has a place", "canal stenosis, with a disc bulge at L5-S1", ["L5-S1 canal affirmed"]),
        ("a limb or the pelvis as the place of the canal",
         "stenosis of neural canal of pelvic region, related to the sacroiliac joint", ["pelvic canal affirmed"]),
        ("a clipped word", "l45 sev canal sten 2/2 ligament hypertrophy, l5s1 canal ok",
         ["L4-L5 canal affirmed", "L5-S1 canal negated"]),
        ("a test by its result", "maximum foraminal compression positive on the right", []),
        ("comfortably wide", "At C2-C3 and C3-C4 the canal is comfortably wide.", ["C2-C3+C3-C4 canal negated"]),
        ("misheard in dictation", "c three four the canal is patient", ["C3-C4 canal negated"]),
        ("two noun phrases with their places behind a comma",
         "osseous stenosis of neural canal, cervical region, and disc stenosis of neural canal, lumbar region",
         ["cervical canal affirmed", "lumbar canal affirmed"]),
        ("no recurrence", "Previous lumbar stenosis, decompressed 2014, no recurrence", ["lumbar - historical"]),
        ("the canal of another cervix", "Cervical canal stenosis found at hysteroscopy", []),
        ("a box with no", "L2-3: stenosis N. L3-4: canal stenosis Y", ["L2-L3 - negated", "L3-L4 canal affirmed"]),
        ("a box behind yes and no", "Stenosis (Y/N): N", ["- - negated"]),
        ("a minus behind a place", "Foraminal narrowing L5-S1 (-)", ["L5-S1 foramen negated"]),
        ("a minus before the next sign", "canal stenosis L4-5 (-) SLR", ["L4-L5 canal affirmed"]),
        ("grade 0", "Central stenosis: grade 0", ["- canal negated"]),
        ("a question answered with a letter", "Stenosis? N", ["- - negated"]),
        ("a cause that is likely", "Canal stenosis is likely to be due to ligament thickening", ["- canal affirmed"]),
        ("a narrowing that is suspected from a cause", "canal stenosis is suspected from ligament thickening",
         ["- canal uncertain"]),
        ("a bright signal is no level", "canal stenosis at C4-5 with T2 bright cord", ["C4-C5 canal affirmed"]),
        ("taken back", 'Please disregard "severe canal stenosis at L2-3" above', ["L2-L3 canal negated"]),
        ("a relative by another name", "Mum had severe spinal stenosis", []),
        ("a sequence is no level", "T2-weighted images show cervical canal stenosis", ["cervical canal affirmed"]),
        ("w/o behind a level", "canal stenosis L3-4 w/ claudication", ["L3-L4 canal affirmed"]),
        ("a level that 'w/' follows", "Thick flavum T9-T11 w/ canal stenosis", ["T9-T10+T10-T11 canal affirmed"]),
        ("a low grade is no low signal", "T11-12 low grade canal stenosis", ["T11-T12 canal affirmed"]),
        ("a sequence is no level", "T2 low signal; canal stenosis at L4-5", ["L4-L5 canal affirmed"]),
        ("a date is no level", "MRI L/S 1/14: canal stenosis at L4-5", ["L4-L5 canal affirmed"]),
        ("exit canals are foramina", "Both exit neural canals are narrowed at C5-6", ["C5-C6 foramen affirmed"]),
        ("a recess is the canal", "narrowed right lateral recess at L4-5", ["L4-L5 canal affirmed"]),
        ("pressure implies", "L4-5 disc indents the thecal sac", ["L4-L5 canal affirmed!"]),
        ("a root pressed in its foramen", "disc compressing the L4 root inside the L4-5 foramen",
         ["L4-L5 foramen affirmed!"]),
        ("a root pressed nowhere", "disc compressing the L5 root", []),
        ("touched is not narrowed", "L4-5: bulge touching the L5 roots without displacing them", []),
        ("levels in a list of spaces", "encroachment of the C3-4 and C4-5 foramina", ["C3-C4+C4-C5 foramen affirmed"]),
        ("two objects of one verb", "narrows the canal to 8 mm and both foramina at L4-5",
         ["L4-L5 canal affirmed", "L4-L5 foramen affirmed"]),
        ("joined verbs keep their objects", "L4-5: bulge compressing the thecal sac and narrowing both neural foramina",
         ["L4-L5 canal affirmed!", "L4-L5 foramen affirmed"]),
        ("joined subjects", "Neither the canal nor the exit foramina are narrowed",
         ["- canal negated", "- foramen negated"]),
        ("wide enough", "C4-5: canal capacious, foramina patent",
         ["C4-C5 canal negated", "C4-C5 foramen negated"]),
        ("a denial does not turn what follows", "C3-4: no canal stenosis, foramina patent",
         ["C3-C4 canal negated", "C3-C4 foramen negated"]),
        ("openness denied", "The canal is not patent at C5-6", ["C5-C6 canal affirmed"]),
        ("decompressed and wide", "L4-5: canal well decompressed and widely patent", ["L4-L5 canal negated"]),
        ("ok in a hurry", "L3-4 canal ok", ["L3-L4 canal negated"]),
        ("without contrast", "MRI lumbar w/o done today: canal stenosis L4-5", ["L4-L5 canal affirmed"]),
        ("nothing to suggest", "Nothing to suggest canal narrowing", ["- canal negated"]),
        ("denied around an apposition", "Stenosis of the neural canal, pelvic region, is not present",
         ["pelvic canal negated"]),
        ("hedged before", "There is possible foraminal narrowing at C6-7", ["C6-C7 foramen uncertain"]),
        ("hedged behind", "canal stenosis L4-5 suspected clinically", ["L4-L5 canal uncertain"]),
        ("hedged in brackets only", "severe canal stenosis with cord signal change (edema vs myelomalacia)",
         ["- canal affirmed"]),
        ("the earlier state denied", "In 2019 the canal was normal; now there is canal stenosis at L3-4",
         ["L3-L4 canal affirmed"]),
        ("what an operation was for", "s/p laminectomy 2018 for lumbar canal stenosis", ["lumbar canal historical"]),
        ("copied forward", 'Copied from 02/2023: "severe canal stenosis L3-4"', ["L3-L4 canal historical"]),
        ("a risk", "Consent covers bleeding, recurrent canal stenosis, infection", []),
        ("hearsay", "was told by a chiropractor that he had spinal stenosis", []),
        ("a plan", "Referred for evaluation of canal stenosis", []),
        ("the name of something else", "Swiss Spinal Stenosis Questionnaire 38; stenosis protocol MRI performed", []),
        ("no feature", "Foraminal narrowing is not a feature of this examination", ["- foramen negated"]),
        ("a test by name", "cervical compression and foraminal compression tests negative", []),
        ("another organ's foramen", "greater sciatic foramen unremarkable", []),
        ("except at", "The canal is adequate except at L4-5, where a thick ligament narrows it",
         ["- canal negated", "L4-L5 canal affirmed"]),
        ("an aspect keeps the level", "L3-4  Disc: bulge.  Canal: moderate stenosis.  Foramina: patent.",
         ["L3-L4 canal affirmed", "L3-L4 foramen negated"]),
        ("both levels", "Bulges at L3-4 and L4-5. Foramina are open at both levels.", ["L3-L4+L4-L5 foramen negated"]),
        ("the same stenosis", "Stenosis at C4-5, C5-6. These stenosis is in both foramina.",
         ["C4-C5+C5-C6 foramen affirmed"]),
        ("a part of the level", "L5-S1: the S1 root passes a narrowed lateral recess.", ["L5-S1 canal affirmed"]),
        ("a comparison ends with its line", "COMPARISON: none\nAt L4-5 the canal is narrowed.",
         ["L4-L5 canal affirmed"]),
        ("an indication asks", "INDICATION: canal stenosis at L4-5?\nFINDINGS: normal.", []),
        ("a plan ends with its paragraph", "Plan: listed for surgery\n\nMRI shows canal stenosis at C4-5.",
         ["C4-C5 canal affirmed"]),
        ("an unknown heading in capitals", "SOCIAL HISTORY: smoker. COURSE: MRI showed canal stenosis at L2-3.",
         ["L2-L3 canal affirmed"]),
        ("an addendum corrects", "No stenosis of the canal at L4-5.\nADDENDUM: canal stenosis at L4-5.",
         ["L4-L5 canal affirmed"]),
        ("a transcription error is taken back", 'states "no foraminal stenosis". This is a transcription error.', []),
        ("pressure denied beside a narrowing", "Canal stenosis at C5-6. The cord is not compressed.",
         ["C5-C6 canal affirmed"]),
        ("a denial in brackets stays in them", 'MRI (no disc) reads "ligament encroaching on the canal L4/5"',
         ["L4-L5 canal affirmed"]),
        ("told by the provider", "Told her the canal at L4/5 is narrowed", ["L4-L5 canal affirmed"]),
        ("a denial copied forward", "[copied forward from 08/2022]: no canal stenosis at L4-5", []),
        ("the place with the space", "Tarlov cyst S2 left 14 mm, sacral foramina patent", ["sacral foramen negated"]),
        ("the narrowing of an artery", "Narrowing of the right vertebral artery in the C5-6 foramen", []),
        ("an alternative", "foraminal stenosis vs hip osteoarthritis", ["- foramen uncertain"]),
        ("broken by blanks", "canal steno sis at L3-4 due to thick ening of the flavum", ["L3-L4 canal affirmed"]),
        ("words broken by lines", "AT C6-7 NO CANAL STENO\nSIS. AT C3-4 CANAL NAR-\nROWED.",
         ["C6-C7 canal negated", "C3-C4 canal affirmed"]),
        ("capitals wrapped", "AT C4-5 THERE IS A TWO MILLIMETRE SLIP WITH WIDENING WHICH NARROWS\nTHE CANAL MILDLY",
         ["C4-C5 canal affirmed"]),
        ("a joint that is narrow", "Facet joint narrowing at L4-5; SI joint narrowing", []),
        ("a lesson", "Explained what spinal stenosis is with a model", []),
        ("Th is T", "At Th7/8 a herniation presses on the dural sac", ["T7-T8 canal affirmed!"]),
        ("a sequence behind its plane", "Capsule redundancy C4/5 narrowing the foramen (ax T2 im 14)",
         ["C4-C5 foramen affirmed"]),
        ("a list of denials", "Back history - denies: stenosis, herniation, fracture", ["- - negated"]),
        ("digits for letters", "L4-5: Cana1 narr0wed", ["L4-L5 canal affirmed"]),
        ("run on", "L5-S1: canal andforamina patent", ["L5-S1 canal negated", "L5-S1 foramen negated"]),
        ("N is normal", "C2-3 ........ canal N ........ foramina N", ["C2-C3 canal negated", "C2-C3 foramen negated"]),
        ("translated", "L3-L4: canal of habitual amplitude, conjunction holes permeable",
         ["L3-L4 canal negated", "L3-L4 foramen negated"]),
        ("two levels without a blank", "C5C6: spur diminishing the right foramen", ["C5-C6 foramen affirmed"]),
        ("a test with its sign", "max. foraminal compression (-) bilat, cervical distraction relieves", []),
        ("another cord", "Inguinal canal: cord compressed by adhesions", []),
        ("another canal", "Medullary canal of the femur obliterated by fibrous tissue", []),
        ("taken back in the next sentence", "He writes that the L4-5 canal is narrowed. It is not.",
         ["L4-L5 canal negated"]),
        ("a region before dashes", "L-SPINE -- No retropulsion, canal preserved", ["lumbar canal negated"]),
        ("a grade behind a measure", "Level | Canal (AP)\nC4-5 | 8 mm, moderate stenosis", ["C4-C5 canal affirmed"]),
        ("the head of a table is none of its rows", "Level      Disc bulge   Canal narrowed   Foramen narrowed", []),
        ("a capital for a letter", "L5-S1: canaI wideIy patent", ["L5-S1 canal negated"]),
        ("a canal under another one", "External auditory canal stenosis.\nBony canal narrowed by exostoses.", []),
        ("a chart that is old", 'Old chart carries "C5/6 foraminal stenosis (2014)"', ["C5-C6 foramen historical"]),
        ("answered with no in brackets", "Neural foramen narrowed, lateral view .. (N)", ["- foramen negated"]),
        ("the rest", "At D4-5 the PLL indents the sac. The rest of the canal is adequate. Neural foramina are clear.",
         ["T4-T5 canal affirmed!", "- canal negated", "- foramen negated"]),
        ("a vertebra in German", "LWK 3/4: spinal canal narrowness through hypertrophy", ["L3-L4 canal affirmed"]),
        ("a form in a line", "C6-7 | central stenosis: N | foraminal stenosis: Y",
         ["C6-C7 canal negated", "C6-C7 foramen affirmed"]),
        ("fluid that is clear", "LP at L3-4 uneventful, CSF clear", []),
        ("should it come", "Counselled: should narrowing of the canal ever develop, surgery again", []),
        ("a line in capitals denies itself alone",
         "NO ACUTE FRACTURE OR MALALIGNMENT OF THE LUMBAR VERTEBRAE\nSEVERE CANAL STENOSIS AT L4/5",
         ["L4-L5 canal affirmed"]),
        ("a list by letters", "No evidence of a) disc herniation b) lumbar canal stenosis.", ["lumbar canal negated"]),
        ("done without contrast", "MRI L-spine without: canal stenosis at L4/5", ["L4-L5 canal affirmed"]),
        ("a disease of the cord", "Multiple sclerosis affecting the cervical cord", []),
        ("the ear is another paragraph's", "Ear canals clear.\n\nThe spinal canal is narrowed.", ["- canal affirmed"]),
        ("compared", "Severe lumbar canal stenosis vs prior, worse", ["lumbar canal affirmed"]),
        ("no doubt", "There is no doubt that the lumbar canal is narrowed", ["lumbar canal affirmed"]),
        ("denied twice", "Lumbar canal stenosis at L4/5. It is not absent.", ["L4-L5 canal affirmed"]),
        ("today's denial", "Plan carried forward: MRI today shows no lumbar canal stenosis", ["lumbar canal negated"]),
        ("all of something", "At L4/5 the disc bulges. All ligaments are thick. The canal is narrowed.",
         ["L4-L5 canal affirmed"]),
        ("boxes unanswered", "Lumbar canal stenosis: [ ] yes [ ] no", []),
        ("what one would say", "I would say the canal is narrowed at C5-6", ["C5-C6 canal affirmed"]),
        ("relative, not a relative", "L4/5: relative spinal canal stenosis", ["L4-L5 canal affirmed"]),
        ("denied but for a place", "No stenosis except mild at L4-5", ["- - negated", "L4-L5 - affirmed"]),
        ("open but for a place", "Foramina patent other than the left L5-S1.",
         ["- foramen negated", "L5-S1 foramen affirmed"]),
        ("denied beside something else", "No canal stenosis except for a disc bulge at L4-5", ["- canal negated"]),
        ("a run of three", "canal stenosis C4/5/6", ["C4-C5+C5-C6 canal affirmed"]),
        ("a table with gaps", "Level   Canal   Foramina\nL3-4   mild   patent\nL4-5   severe (6 mm)   nl",
         ["L3-L4 canal affirmed", "L3-L4 foramen negated", "L4-L5 canal affirmed", "L4-L5 foramen negated"]),
        ("more than a grade in a cell", "Level | Canal | R foramen\nC4-5 | patent, 12 mm | mod narrowing, spur",
         ["C4-C5 canal negated", "C4-C5 foramen affirmed"]),
        ("options of a template", "--- L4/5 ---\nCanal: [ ] patent [ ] mild [x] mod [ ] severe stenosis",
         ["L4-L5 canal affirmed"]),
        ("small by nature", "The lumbar canal is congenitally small, most at L3-4", ["L3-L4 canal affirmed"]),
        ("a level between dashes", "--- L3/4 ---\nCanal: patent", ["L3-L4 canal negated"]),
        ("the patient's husband is spoken of still", "Husband of the pt has lumbar spinal stenosis.", []),
        ("the patient after another", "Mother has MS; pt has lumbar spinal stenosis", ["lumbar canal affirmed"]),
        ("boxes that answer what stands before them", "Lumbar canal stenosis [ ] Yes [x] No", ["lumbar canal negated"]),
        ("boxes behind their answers", "Lumbar canal stenosis  Y [x]  N [ ]", ["lumbar canal affirmed"]),
        ("boxes behind a question", "Is there lumbar canal stenosis? ( ) yes (x) no", ["lumbar canal negated"]),
        ("two pairs of boxes in a line", "Canal stenosis [ ] Y [x] N   Foraminal narrowing [x] Y [ ] N",
         ["- canal negated", "- foramen affirmed"]),
        ("a state that is ticked", "Canal at L4-5 [ ] normal [x] narrowed", ["L4-L5 canal affirmed"]),
        ("boxes under yes and no", "Finding | Yes | No\nCanal stenosis C3-4 | [ ] | [x]\nForaminal stenosis C5-6 | x |",
         ["C3-C4 canal negated", "C5-C6 foramen affirmed"]),
        ("boxes under columns with gaps", "     Present   Absent\nLumbar canal stenosis   [ ]   [x]\nSlip   [ ]   [ ]",
         ["lumbar canal negated"]),
        ("boxes under grades", "| Canal stenosis | None | Mild |\n|---|---|---|\n| L3-4 | x | |\n| L4-5 | | x |",
         ["L3-L4 canal negated", "L4-L5 canal affirmed"]),
        ("boxes under spaces", "Level | Canal stenosis | Foraminal stenosis\nL3-4 | [ ] | [x]\nL4-5 | [x] | [ ]",
         ["L3-L4 foramen affirmed", "L4-L5 canal affirmed"]),
        ("a full stop in a cell", "Level | Canal | Foramina\nC4-5 | mod. sten. | normal",
         ["C4-C5 canal affirmed", "C4-C5 foramen negated"]),
        ("operated on since", "Cervical stenosis s/p C4-6 laminectomy 2019", ["cervical - historical"]),
        ("what an operation was for", "lumbar spinal stenosis for which she had a fusion", ["lumbar canal historical"]),
        ("operated on elsewhere", "Canal stenosis at L2-3 s/p L4-S1 fusion", ["L2-L3 canal affirmed"]),
        ("operated on and graded", "Severe lumbar stenosis s/p laminectomy", ["lumbar - affirmed"]),
        ("operated on and still there", "Lumbar stenosis s/p laminectomy, persistent claudication",
         ["lumbar - affirmed"]),
        ("where the operation was", "s/p L4-5 laminectomy 2011 for canal stenosis", ["L4-L5 canal historical"]),
        ("an addendum before what it corrects",
         "ADDENDUM 3/2/26 (Dr. K): The canal at L4-5 is not narrowed.\n\nMRI LUMBAR SPINE\n\nL4-5: severe canal "
         "stenosis.\nL3-4: mild canal stenosis.", ["L4-L5 canal negated", "L3-L4 canal affirmed"]),
        ("an addendum that is closed",
         "*** ADDENDUM ***\nNo canal stenosis at T9-10.\n*** END ADDENDUM ***\n\nCanal stenosis at T9-10.",
         ["T9-T10 canal negated"]),
        ("an addendum that says the same",
         "ADDENDUM: Canal stenosis at T9-10, as below.\n\nFINDINGS:\nA thick ligament narrows the canal at T9-10.",
         ["T9-T10 canal affirmed", "T9-T10 canal affirmed"]),
        ("the other side", "L3-4: The left foramen is narrowed. The right is patent.",
         ["L3-L4 foramen affirmed", "L3-L4 foramen negated"]),
        ("the other side is not", "L3-4: The left recess is narrowed. The right one is not.",
         ["L3-L4 canal affirmed", "L3-L4 canal negated"]),
        ("the other side is too", "L3-4: The right foramen is open. The left is mildly narrowed.",
         ["L3-L4 foramen negated", "L3-L4 foramen affirmed"]),
        ("the right is no space", "Lumbar canal stenosis. The right is normal in strength.", ["lumbar canal affirmed"]),
        ("the subject goes on behind 'and is'",
         "The C5-6 foramen is filled by an uncovertebral spur and a small fragment of disc and is very much narrowed",
         ["C5-C6 foramen affirmed"]),
        ("a sac of full width", "At L4-5 the sac is of full calibre.", ["L4-L5 canal negated"]),
        ("a sac that is free", "At L4-5 both roots were free and the sac bulged.", []),
        ("at every level", "canal narrowed at C6-7; no herniation; foramina clear at all levels",
         ["C6-C7 canal affirmed", "- foramen negated"]),
        ("the appearance of something else", "Old appearing L1 fracture with canal stenosis", ["L1 canal affirmed"]),
        ("where the cord ends", "Conus at L1, lumbar canal capacious", ["lumbar canal negated"]),
        ("a scanned S1", "L5-Sl: foramina patent", ["L5-S1 foramen negated"]),
        ("the root of a level in force", "L4-5: scar about the L5 root narrows the lateral recess",
         ["L4-L5 canal affirmed"]),
        ("fields between bars", "Level: L4-5 | Canal: moderate | Foramina: patent | Cyst: S2",
         ["L4-L5 canal affirmed", "L4-L5 foramen negated"]),
        ("denied in a history", "PMH: gout. Denies any history of lumbar spinal stenosis.", ["lumbar canal negated"]),
        ("not applicable is no denial", "Lumbar canal stenosis. N/A.", ["lumbar canal affirmed"]),
        ("an operation to come", "L4-5 laminectomy for lumbar canal stenosis is scheduled", ["lumbar canal affirmed"]),
        ("found beside an operation", "s/p L4-5 fusion with canal stenosis at L3-4", ["L3-L4 canal affirmed"]),
        ("had been narrowed", "The lumbar canal had been narrowed before the operation.", ["lumbar canal historical"]),
        ("used to be", "There used to be canal stenosis at L4-5.", ["L4-L5 canal historical"]),
        ("in the family", "Lumbar stenosis runs in the family.", []),
        ("a worry", "She worries she has lumbar canal stenosis.", []),
        ("an artifact", "What had been read as canal stenosis at C3-4 is artifact.", ["C3-C4 canal negated"]),
        ("not to be confirmed", "Canal stenosis at L4-5 cannot be confirmed.", ["L4-L5 canal uncertain"]),
        ("denied behind a comma", "Stenosis of neural canal, sacral region, not present", ["sacral canal negated"]),
        ("graded level by level under stenosis", "Stenosis: L3-4 mild, L4-5 severe, L5-S1 none.",
         ["L3-L4 - affirmed", "L4-L5 - affirmed", "L5-S1 - negated"]),
        ("an age is not long ago", "A 64 year old man has lumbar canal stenosis", ["lumbar canal affirmed"]),
        ("risks that were discussed", "Discussed infection, nerve injury, recurrent canal stenosis; consented.", []),
        ("what to come back for", "Return precautions given, including cord compression.", []),
        ("the other side behind a semicolon", "The left L5-S1 foramen is narrowed; the right one is patent.",
         ["L5-S1 foramen affirmed", "L5-S1 foramen negated"]),
        ("doubt what it explains", "I doubt that the canal stenosis at L4-5 accounts for her knee pain.",
         ["L4-L5 canal affirmed"]),
        ("unlikely to explain", "It is unlikely that canal stenosis at L3-4 explains this.", ["L3-L4 canal affirmed"]),
        ("a hedge behind a denial", "L4-5: no canal stenosis, questionable right foraminal narrowing.",
         ["L4-L5 canal negated", "L4-L5 foramen uncertain"]),
        ("a field that is open", "L4-5: Foramina: open.", ["L4-L5 foramen negated"]),
        ("all levels end the one before", "Bulge at C5-6. The canal is patent at all levels. No foraminal narrowing.",
         ["- canal negated", "- foramen negated"]),
        ("from a vertebra down", "The thoracic canal is of normal calibre from T4 down.", ["thoracic canal negated"]),
        ("from a vertebra to the sacrum", "The canal is patent from L2 to the sacrum.", ["lumbar canal negated"]),
        ("not otherwise", "The canal is not otherwise compromised at L4-5.", ["L4-L5 canal negated"]),
        ("how a level was counted once", "L2-3 (formerly called L3-4): canal stenosis.", ["L2-L3 canal affirmed"]),
        ("open, behind a measurement",
         "The canal at L3-4 measures 15 mm, against 7 mm before the laminectomy, and is now patent.",
         ["L3-L4 canal negated"]),
        ("risks behind a colon", "Rare risks explained to her: infection; narrowing of the canal later on.", []),
        ("risks were named before", "Risks discussed; there is canal stenosis at L4-5.", ["L4-L5 canal affirmed"]),
        ("what she has read", "She has been reading about lumbar stenosis.", []),
        ("what can come of it", "A thickened ligamentum flavum can over time narrow the canal.", []),
        ("what can be seen", "Canal stenosis can be seen at L4-5.", ["L4-L5 canal affirmed"]),
        ("what can explain", "The L4-5 canal stenosis can explain her legs.", ["L4-L5 canal affirmed"]),
        ("what she can do", "She can walk a mile with lumbar canal stenosis.", ["lumbar canal affirmed"]),
        ("what another read", "The report calls this canal stenosis at L4-5. I disagree.", ["L4-L5 canal negated"]),
        ("what another advised", "Canal stenosis at L4-5. I disagree on surgery.", ["L4-L5 canal affirmed"]),
        ("one who wonders", "I wondered if this was lumbar canal stenosis.", ["lumbar canal uncertain"]),
        ("an artefact", "Narrowing of the C3-4 foramen may be artefactual.", ["C3-C4 foramen uncertain"]),
        ("operated on in a month", "Canal stenosis L3-4, decompressed 11/2018", ["L3-L4 canal historical"]),
        ("a date of something else", "Canal stenosis L3-4, resolved pain since 2018", ["L3-L4 canal affirmed"]),
        ("lists that have no colon", "ALLERGIES: nil\nActive\n- Canal stenosis L3-4\nResolved\n- Canal stenosis T8-9",
         ["L3-L4 canal affirmed"]),
        ("it is that of before", "The canal is of good size at T7-8. At T8-9 it is stenosed, with a bright cord.",
         ["T7-T8 canal negated", "T8-T9 canal affirmed"]),
        ("it is not so there", "The canal is narrow at T7-8. At T8-9 it is patent, at T9-10 too.",
         ["T7-T8 canal affirmed", "T8-T9+T9-T10 canal negated"]),
        ("it is normal otherwise", "The canal is narrowed at C4-5. It is normal in signal at C7.",
         ["C4-C5 canal affirmed"]),
        ("the cause is denied", "Lifting did not create the canal stenosis at C4-5.", ["C4-C5 canal affirmed"]),
        ("that it causes one is denied", "The bulge does not cause canal stenosis at C4-5.", ["C4-C5 canal negated"]),
        ("open only then", "The L2-3 foramina, patent in 2021, are now narrowed.", ["L2-L3 foramen affirmed"]),
        ("open before", "The C3-4 canal was adequate before and is narrowed now.", ["C3-C4 canal affirmed"]),
        ("beside an operation", "Canal stenosis at C3-4 above the fused C4-5 segment.", ["C3-C4 canal affirmed"]),
        ("each level its grade", "The CT reads: mild T8-9 and severe T9-10 canal stenosis.",
         ["T8-T9+T9-T10 canal affirmed"]),
        ("the level of a bulge", "Mild L1-2 disc bulge and severe L2-3 canal stenosis.", ["L2-L3 canal affirmed"]),
        ("levels of bulges that narrow", "L1-2 disc bulge and L2-3 disc bulge narrow the canal.",
         ["L1-L2 canal affirmed", "L2-L3 canal affirmed"]),
        ("taken off the list", "Lumbar stenosis: listed in an old record; MRI of 2025 showed no lumbar canal stenosis.",
         ["lumbar canal historical", "lumbar canal negated"]),
        ("of usual width", "The thoracic canal is of usual width.", ["thoracic canal negated"]),
        ("one's own reading", "The report has canal stenosis at C3-4. To my eye the C3-4 canal is patent.",
         ["C3-C4 canal negated"]),
        ("one's own reading of another level", "Canal stenosis at C3-4. To my eye the C4-5 canal is patent.",
         ["C3-C4 canal affirmed", "C4-C5 canal negated"]),
        ("an addendum under its date", "Canal stenosis at T6-7.\n\n* ADDENDUM 1/2/2026 *\nT6-7 canal is normal.",
         ["T6-T7 canal negated"]),
        ("said again in full", "'Canal stenosis at T4-5' should read 'canal stenosis at T5-6'.",
         ["T5-T6 canal affirmed"]),
        ("a sentence is no header", "Disc extrusion causing spinal canal stenosis", ["- canal affirmed"]),
        ("a header", "Level  Canal  Foramina\nL3-4  normal  narrowed",
         ["L3-L4 canal negated", "L3-L4 foramen affirmed"]),
        ("a cranial direction", "A fragment of the disc lies cranial to L3-4 and narrows the canal.",
         ["L3-L4 canal affirmed"]),
        ("a range down to the sacrum", "The canal is narrow from T12 down to the sacrum.",
         ["thoracic+lumbar canal affirmed"]),
        ("doubt about its cause", "The cause of the canal stenosis at L1-2 is unclear.", ["L1-L2 canal affirmed"]),
        ("a disc that is narrow itself", "Disc narrowing C6-7, canal patent.", ["C6-C7 canal negated"]),
        ("a narrowed disc", "Moderately narrowed disc at L3-4.", []),
        ("a disc is narrowed", "The discs at L2-3 and L3-4 are narrowed; the foramina are open.",
         ["L2-L3+L3-L4 foramen negated"]),
        ("a disc that is lower and narrowed", "The L5-S1 disc is reduced in height and narrowed; the canal is patent.",
         ["L5-S1 canal negated"]),
        ("a narrow disc beside a narrow canal", "Narrow disc and narrow canal at C4-5.", ["C4-C5 canal affirmed"]),
        ("disc and canal are narrowed", "The disc and the canal are narrowed at L1-2.", ["L1-L2 canal affirmed"]),
        ("a canal beside the disc", "The canal at the C3-4 disc is narrowed.", ["C3-C4 canal affirmed"]),
        ("a disc that narrows", "The L2-3 disc narrowing the canal is calcified.", ["L2-L3 canal affirmed"]),
        ("what a narrow disc leads to", "Disc narrowing has led to foraminal stenosis at C6-7.",
         ["C6-C7 foramen affirmed"]),
        ("grades before their levels", "Central canal: mild T8-9; severe T9-10.",
         ["T8-T9 canal affirmed", "T9-T10 canal affirmed"]),
        ("a grade and its level", "Neural foramina: moderate bilaterally at C6-7", ["C6-C7 foramen affirmed"]),
        ("sides and a level", "Foramina: R mod / L mild at L2-3", ["L2-L3 foramen affirmed"]),
        ("not severe there, mild here", "No severe canal stenosis; mild narrowing at L2-3.",
         ["- canal negated", "L2-L3 canal affirmed"]),
        ("none of the canal, then one more", "No canal stenosis at C3-4; there is stenosis at C5-6.",
         ["C3-C4 canal negated", "C5-C6 canal affirmed"]),
        ("a stop in 'neg.'", "CT neg. for canal stenosis.", ["- canal negated"]),
        ("a stop behind a result", "SLR neg. Canal stenosis at L2-3.", ["L2-L3 canal affirmed"]),
        ("a part of the normal width", "The canal at C4-5 is half of its normal width.", []),
        ("as wide as it should be", "The canal at C4-5 is of normal width.", ["C4-C5 canal negated"]),
        ("a central vein", "Central vein stenosis. Central airway narrowed.", []),
        ("a notch and a pulley", "Narrowing of the suprascapular notch; stenosis at the A2 pulley.", []),
        ("a clipped word with its stop", "Neural canal sten. by conn. tiss. at T8-9", ["T8-T9 canal affirmed"]),
        ("misspelt", "severe canal steonsis and forminal narowing at L4-5",
         ["L4-L5 canal affirmed", "L4-L5 foramen affirmed"]),
    ],
)  # fmt: skip
def test_what_is_said_of_which_space(rule: str, text: str, expected: list[str], lexicon: Lexicon) -> None:
    assert told(text, lexicon) == expected, rule


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("due to", "canal stenosis due to ligamentum flavum hypertrophy", ["connective"]),
        ("the subject narrows", "a thick ligamentum flavum narrows the canal", ["connective"]),
        ("merely beside", "canal stenosis, ligamentum flavum hypertrophy", ["(connective)"]),
        ("an adjective between", "foramen narrowed by soft disc at C7-T1", ["disc"]),
        ("each its own", "canal stenosis from a disc bulge and foraminal stenosis from uncinate spurs",
         ["disc", "osseous"]),
        ("part of another's name", "narrowing of the canal from facet subluxation", ["subluxation"]),
        ("a ligament that bulges is no disc", "the bulging ligamentum flavum narrows the canal", ["connective"]),
        ("ossified is bone", "canal stenosis from ossified ligamentum flavum at T9-10", [""]),
        ("calcified is ligament", "canal stenosis from calcified ligamentum flavum", ["connective"]),
        ("of the level block", "L4-5: Ligamentum flavum is thick. The canal is narrowed.", ["(connective)"]),
        ("of the findings", "L4-5: Ligamentum flavum is thick.\nIMPRESSION: canal stenosis at L4-5.", ["(connective)"]),
        ("of a clause that is silent", "scar about the root; the lateral recess is narrowed", ["(connective)"]),
        ("each level its own", "stenosis L3-4 and L4-5, disc bulge at L3-4, thick ligamentum flavum at L4-5",
         ["(disc)", "(connective)"]),
        ("a tissue of another level", "bulges at L3-4 and L4-5 narrow the canal, with thick ligamentum flavum at L4-5",
         ["disc", "disc (connective)"]),
        ("denied", "canal stenosis, no ligamentum flavum hypertrophy", [""]),
        ("this points back", "The flavum is thickened at C5-6. This narrows the canal.", ["connective"]),
        ("this along with another", "L4-5: disc bulge. This along with flavum hypertrophy causes canal stenosis.",
         ["connective disc"]),
        ("the combination", "L4-5: Disc bulge. Thickened flavum. The combination produces canal stenosis.",
         ["connective disc"]),
        ("as a result", "Adhesions lie around the sac. As a result the sacral canal is narrowed.", ["connective"]),
        ("this stenosis points to itself", "Thick flavum at L4-5. This canal stenosis is old.", ["(connective)"]),
        ("a word of disease for both", "L4-5: Ligamentum flavum and facet hypertrophy. Canal stenosis.",
         ["(connective) (osseous)"]),
        ("due to one and to the other", "canal stenosis due to spurs and to a buckled ligamentum flavum",
         ["osseous connective"]),
        ("only where it is", "scar beneath the L4 lamina narrows the canal", ["connective"]),
        ("a cyst off a facet", "A ganglion off the right L3-4 facet narrows the lateral recess", [""]),
        ("a cyst beside a spur", "A ganglion and a facet spur narrow the lateral recess", ["osseous"]),
        ("bone that a cyst wears away", "A cyst erodes the bone and narrows the sacral canal", [""]),
        ("cleared of it", "the disc bulge did not cause the canal stenosis at L3-4", [""]),
        ("the cause is named next", "Canal stenosis L1-2. It is due to a thickened flavum; the disc is unchanged.",
         ["connective"]),
        ("the cause of something else", "Canal stenosis L1-2. The pain is due to a thickened flavum.",
         ["(connective)"]),
        ("under its own caption", "Canal stenosis L1-2. Cause of narrowing: thickened flavum", ["connective"]),
        ("the cause of it is", "The cause of the canal stenosis at L1-2 is a buckled flavum.", ["connective"]),
        ("the cause of it is not", "The cause of the canal stenosis at L1-2 is not a disc bulge.", [""]),
        ("due to it", "Calcified flavum at T8-9, canal stenosis resulting from it.", ["connective"]),
        ("due to this of before", "The flavum is thickened at T8-9. Canal stenosis due to this.", ["connective"]),
        ("due to this patient's", "Disc bulge at T8-9, canal stenosis due to this man's short pedicles.", ["(disc)"]),
        ("disease of several structures", "Marked hypertrophy of the facets and ligamentum flavum narrows the canal",
         ["osseous connective"]),
        ("in the act", "Thickened ligamentum flavum at T4-5 is narrowing the canal.", ["connective"]),
        ("there beside it", "Despite a thick flavum at T4-5 there is narrowing of the canal by disc alone.",
         ["disc"]),
        ("called the cause", "Canal stenosis C4-5, a buckled ligamentum flavum being the main cause.", ["connective"]),
        ("called the culprit", "A tight canal at T3-4, where the thickened flavum is the principal offender.",
         ["connective"]),
        ("called another contributor", "Canal stenosis L1-2 due to disc bulge, with thick flavum another contributor.",
         ["disc connective"]),
        ("not the culprit", "Canal stenosis at C5-6; the thickened flavum is not the culprit.", ["(connective)"]),
        ("the cause of something else", "Canal stenosis at L2-3, thick flavum is the cause of the L4-5 canal stenosis.",
         ["(connective)", "connective"]),
        ("what grows in a ligament", "A flavum cyst narrows the canal at L3-4.", [""]),
        ("bleeding in a ligament", "A ligamentum flavum haematoma compresses the sac at T9-10.", [""]),
    ],
)  # fmt: skip
def test_which_tissue_narrows(rule: str, text: str, expected: list[str], lexicon: Lexicon) -> None:
    assert causes(text, lexicon) == expected, rule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("knee jerk absent on the left", {"reflex-change"}),
        ("strength 4/5 in the EHL", {"weakness"}),
        ("reduced light touch over the thumb", {"paresthesia"}),
        ("gait is wide-based", {"gait"}),
        ("Hoffmann positive", {"long-tract-signs"}),
        ("saddle numbness", {"saddle-numbness"}),
        ("fatty atrophy of multifidus", set()),
        ("atrophy of the thenar muscles", {"weakness"}),
        ("referred by the myelopathy clinic", set()),
        ("knee jerks +++", {"reflex-change"}),
        ("denies weakness, no numbness", set()),
        ("the L5 root is compressed", {"root-compression"}),
        ("disc flattens the cord", {"cord-compression"}),
        ("T2 hyperintensity within the cord", {"cord-signal-change"}),
    ],
)
def test_neurological_findings_are_read_affirmed_only(text: str, expected: set[str], lexicon: Lexicon) -> None:
    found = {f.value for f in reading(text, lexicon).of("function") if f.assertion == "affirmed"}
    assert found == expected


@pytest.mark.parametrize(
    ("text", "found", "denied"),
    [
        ("Hoffmann negative.", 0, 1),
        ("Hoffmann sign negative bilaterally.", 0, 1),
        ("Lhermitte neg", 0, 1),
        ("Negative Hoffmann, gait steady", 0, 1),
        ("Babinski downgoing bilaterally.", 0, 1),
        ("Babinski: flexor.", 0, 1),
        ("Clonus 0 beats.", 0, 1),
        ("Hoffmann sign was not elicited.", 0, 1),
        ("Hoffmann, Babinski, clonus negative.", 0, 3),
        ("Hoffmann and Babinski negative on both sides.", 0, 2),
        ("Hoffmann negative, Babinski positive.", 1, 1),
        ("Hoffmann negative on the left, positive on the right.", 1, 0),
        ("Hoffmann positive, Babinski negative, clonus 3 beats.", 2, 1),
        ("Plantars are extensor.", 1, 0),
    ],
)
def test_how_a_test_came_out_stands_beside_its_name(text: str, found: int, denied: int, lexicon: Lexicon) -> None:
    signs = [f.assertion for f in reading(text, lexicon).of("function") if f.value == "long-tract-signs"]
    assert (signs.count("affirmed"), signs.count("negated")) == (found, denied)


_CATEGORY = "connective tissue stenosis of the neural canal of the lumbar region"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is unlikely that there is {} causing her leg pain.", False),
        ("I doubt that the {} explains the numbness.", True),
        ("{} for which decompression is recommended.", True),
        ("Husband came with the patient, who has {}.", True),
        ("Husband of the patient has {}.", False),
        ("Patient has {}; followed in the family medicine clinic.", True),
        ("MRI was read as {}.", True),
        ("Increase in {} is not significant.", True),
        ("Return precautions given, {}.", True),
        ("{}, cord edema, not present.", True),
        ("{}, L4-5, not present.", False),
        ("{} after a slip and fall.", True),
        ("{}. The left is fine.", True),
        ("{} behind the conus at L1-2.", True),
    ],
)
def test_what_stands_beside_a_stenosis_does_not_take_it_away(text: str, expected: bool, lexicon: Lexicon) -> None:
    statements = reading(text.format(_CATEGORY), lexicon).statements
    assert any(s.assertion == "affirmed" for s in statements) is expected
    assert not (expected and any(s.assertion == "negated" for s in statements))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hyperreflexia, Hoffmann negative.", {"long-tract-signs"}),
        ("Clumsy hands, Hoffmann negative bilaterally.", {"long-tract-signs"}),
        ("Clonus 0 beats left, 5 beats right.", {"long-tract-signs"}),
        ("External rotation of the shoulder limited.", set()),
        ("Paresthesia, negative Hoffmann.", {"paresthesia"}),
        ("C6 numbness negative Spurling.", {"paresthesia"}),
        ("Weakness of grip, Hoffmann negative.", {"weakness"}),
        ("Restricted cervical rotation.", {"restricted-motion"}),
        ("Neck rotation restricted to the left.", {"restricted-motion"}),
        ("Lumbar ROM is reduced by half.", {"restricted-motion"}),
        ("Range of motion full, study limited by motion.", set()),
        ("Posterior disc extension with a limited canal.", set()),
    ],
)
def test_a_result_is_that_of_its_own_test(text: str, expected: set[str], lexicon: Lexicon) -> None:
    assert {f.value for f in reading(text, lexicon).of("function") if f.assertion == "affirmed"} == expected


def test_care_that_was_given_is_apart_from_care_that_is_planned(lexicon: Lexicon) -> None:
    found = reading("Failed 6 weeks of physical therapy.\nPLAN: epidural steroid injection", lexicon)
    assert {f.value for f in found.of("care")} == {"physical-therapy"}
    assert {f.value for f in found.of("care.mentioned")} == {"injection"}


@pytest.mark.parametrize(
    ("text", "quote", "detail"),
    [
        ("Failed 6 weeks of PT.", "Failed 6 weeks of PT", "failed, 6 weeks"),
        (
            "Chiropractic care x 10 visits without relief",
            "Chiropractic care x 10 visits without relief",
            "failed, 10 visits",
        ),
        ("Gabapentin helped for two months", "Gabapentin helped for two months", "partial, two months"),
        ("Takes ibuprofen", "ibuprofen", ""),
    ],
)
def test_care_is_quoted_with_its_duration_and_response(text: str, quote: str, detail: str, lexicon: Lexicon) -> None:
    [care] = reading(text, lexicon).of("care")
    assert care.evidence is not None
    assert (care.evidence.quote, care.detail) == (quote, detail)


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("Upright MRI 04-Feb-2026: canal stenosis", ["2026-02-04"]),
        ("CT 4-FEB-26 shows canal stenosis", ["2026-02-04"]),
        ("Decompressed in 2019; current MRI shows canal stenosis", []),
        ("MRI 11/3/2026 shows stenosis", ["2026-11-03"]),
        ("MRI of 3 November 2026", ["2026-11-03"]),
        ("MRI today: stenosis", ["2026-11-01"]),
        ("MRI ordered for 11/3/2026", []),
    ],
)
def test_when_it_was_imaged(text: str, dates: list[str], lexicon: Lexicon) -> None:
    assert [f.value for f in reading(text, lexicon).of("imaging.date")] == dates


# --- what is no report --------------------------------------------------------------------------------------------

HOSTILE = {
    "one letter": "a" * 1_000_000,
    "blanks": " \n" * 200_000,
    "one sentence of levels": "L4-5 " * 20_000,
    "one sentence of narrowings": "stenosis, " * 20_000,
    "cues without end": "no " * 50_000,
    "near misses": " ".join(f"steno{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}is" for n in range(10_000)),
    "nul and bidi": "\x00\u202estenosis of the canal\u202c\x00 " * 5_000,
    "scripts": "stenosis каналу 管狭窄 قناة " * 5_000,
    "brackets": "(" * 100_000,
    "one block": "L4-5:\n" + "Ligament thick. Canal stenosis.\n" * 5_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_report_is_read_in_bounded_time_and_quoted_exactly(name: str, lexicon: Lexicon) -> None:
    text, begun = HOSTILE[name], time.process_time()
    statements = reading(text, lexicon).statements
    assert time.process_time() - begun < 30  # it ends; no measure of speed
    assert all(text[s.evidence.start : s.evidence.end] == s.evidence.quote for s in statements)


WORDS = st.sampled_from(
    "no possible canal stenosis foraminal narrowing L4-5 at due to ligamentum flavum thick . , ; : \n is patent "
    "(edema vs ) history of and nor without MRI 11/3/2026 [ ] \x00 \u202e é 管".split(" ")
)


@given(st.lists(WORDS, max_size=40).map(" ".join))
@settings(max_examples=150, deadline=None)
def test_any_mixture_of_words_is_read_with_exact_offsets(text: str) -> None:
    for statement in reading(text, KNOWLEDGE.lexicon).statements:
        evidence = statement.evidence
        assert 0 <= evidence.start < evidence.end <= len(text)
        assert all(0 <= step.start <= step.end <= len(text) for step in statement.steps)


def test_what_is_absent_stands_before_the_comma(lexicon: Lexicon) -> None:
    found = reading("Triceps jerk absent, middle finger numb.", lexicon).of("function")
    assert [(f.value, f.assertion) for f in found] == [("reflex-change", "affirmed"), ("paresthesia", "affirmed")]


def test_a_plural_in_ies_is_that_of_its_word(lexicon: Lexicon) -> None:
    assert told("Laminectomies in 2011 for lumbar stenosis, did great.", lexicon) == ["lumbar - historical"]


# --- the same words in another place ------------------------------------------------------------------------------


def passages_of(reading: Reading) -> set[Passage]:
    """Those that anything of a reading points to."""
    statements = reading.statements
    found = [
        f for s in statements for f in (*s.regions, *s.causes, *s.listed, *s.framings, *([s.space] if s.space else []))
    ]
    evidence = [s.evidence for s in statements] + [f.evidence for f in (*found, *reading.findings) if f.evidence]
    return {reading.passage, *(one.passage for one in evidence)}


def test_words_say_in_another_place_what_they_say_in_the_first(lexicon: Lexicon) -> None:
    texts = [json.loads(line)["text"] for line in (DATA / "statements.jsonl").read_text("utf-8").splitlines()]
    assert len(texts) > 100
    for text in texts:
        here = Passage(text, "Condition/c", "Condition.code.text", date="2026-11-01")
        there = Passage(text, "DiagnosticReport/r", "DiagnosticReport.conclusion", "report", "2026-11-01", "final")
        moved = read(here, lexicon).at(there)
        assert repr(moved) == repr(read(there, lexicon))
        assert passages_of(moved) == {there}


def test_a_reader_knows_short_words_again_and_says_where_they_stand(lexicon: Lexicon) -> None:
    reader = Reader(lexicon, CONCEPTS)
    text = "MRI today: connective tissue stenosis of neural canal of cervical region"
    here, there = (Passage(text, f"Condition/{name}", "Condition.code.text", date=name) for name in ("2026-01-02", ""))
    for passage in (here, there, here):
        assert repr(reader.read(passage)) == repr(read(passage, lexicon))
        assert passages_of(reader.read(passage)) == {passage}
        assert {f.evidence.passage for f in reader.places(passage) if f.evidence} == {passage}


def test_an_empty_row_of_a_table_says_nothing(lexicon: Lexicon) -> None:
    assert told("Canal stenosis at L4-5.\n| |\n", lexicon) == told("Canal stenosis at L4-5.\n", lexicon)


def test_a_title_behind_a_box_without_a_tick_names_no_place(lexicon: Lexicon) -> None:
    assert Reader(lexicon, CONCEPTS).places(Passage("[ ] lumbar spine", "Condition/c", "Condition.code.text")) == ()
