"""FHIR Coding Assist: a FHIR record in, the right code, the right question or a reasoned silence out.

The whole in one minute:

    FHIR in ──► Documentation ──► Assessment ──► FHIR out
     fhir_in       (findings,        (what each     fhir_out
                    evidence)         rule found)

Four doors share that one line and differ only in how they open the envelope and phrase the answer:

    cds_hooks     cards while charting            fhir_api      $coding-assist and $check
    batch, bulk   NDJSON before a claim           explain       one record for people
    feedback      what users did with our cards

Beside that line stands what a FHIR R4 server has:

    conformance_api   reads, searches and metadata of what conformance builds from terminology/ and fhir_profiles/
    terminology_api   $lookup, $validate-code, $expand, $translate over code_systems, value_sets and concept_maps
    resource_validation
                      $validate: shape, invariants, profile, then for a Condition the same Assessment
    fhir_http         the format that a client asks for
    openapi           /openapi.json and /docs: all routes described
    source_attributes what decision support has to say of itself; rules_pages has its rules

Before the doors stand `clients`, where AUTH=jwt: who may call, by token and key (`backend_services` gives tokens for
/fhir that last); and `ehr`, which gets what a hook did not prefetch. `smart` lets an EHR open a form as an app (its
pages: `smart_pages`), and `launches` reads and writes the record with the user's rights. `fetching` is all that ever
calls out (by `calling`), `servers` says what an address must look like, `limits` how often one may call.

`record` is what came in, by role; `fhir_in` makes of each Condition a Documentation, with what `reports_in` finds
beside it, `authors` says of who wrote it and `reader` reads in it; `fhir_values` are the datatypes of FHIR, and `rows`
what the `gate` takes in of an export.

`assist.Assist` is the line itself; of a problem list `glance` tells by the `gate` what need not be read. `store` keeps
what must survive it: `tables` says in which, `database` in SQLite or PostgreSQL (`migrating` brings the tables up to
date, `postgresql` waits no longer for an answer than it may), `retention` what is let go;
`decisions` and `audit` say what is kept of an answer, `journal` writes it, `replay` makes the answer again,
`readiness` tells whether it can be written.
`coding/` is the pure core, what a coder has to trust; it reads in this order:

    model         the nouns, frozen; the patient's words stay out of every repr
    lexicon       the terms of terminology/lexicon, found by word, misspellings forgiven
    levels, dates, sentences, scene, assertions, statements, beside
                  the grammar of notes and reports: one passage in, statements and findings out (narrative.read)
    packs         terminology/packs as rules, refused when wrong
    matters, weighing, supporting
                  statements on one narrowing put together, and the state of each documentation element
    assessment    assess(): one small function for each kind of rule; validity, unspecified and claim judge codes
                  and claims
    alternatives  why not, for every sibling code
    answers       what the provider answers to a query, as findings that the same rules weigh
    query         what to ask, in which order, with which options; query_check refuses a form that leads

What the rules say lies in terminology/ as data. Start with coding/model.py, then terminology/packs/m99.4/pack.yaml,
then coding/assessment.py. `compiling` makes C of the core, `compiled` prefers it to the source where it is current;
`coding/kept` does the same for what a start derives from terminology/. `deferred` are libraries that few answers need.
"""

from service import compiled

compiled.prefer()
__version__ = "0.1.0"
