Alias: $icd10cm = http://hl7.org/fhir/sid/icd-10-cm
Alias: $hidden = http://hl7.org/fhir/StructureDefinition/questionnaire-hidden

Profile: DocumentedStenosisCondition
Parent: Condition
Id: documented-stenosis-condition
Title: "Condition with a documented stenosis"
Description: "A diagnosis of connective tissue stenosis of the neural canal (ICD-10-CM M99.4-) or of a sibling family, with the words that document it. It forbids nothing that US Core 6.1, 7.0 or 8.0 allows: what a coder misses is told by warnings."
* ^experimental = false
* obeys dsc-1 and dsc-2 and dsc-3
* clinicalStatus MS
* verificationStatus MS
* verificationStatus ^short = "Outpatient, an unconfirmed diagnosis is not coded"
* category MS
* code MS
* code ^short = "The code, and in text the provider's own words"
* code.coding ^slicing.discriminator.type = #value
* code.coding ^slicing.discriminator.path = "system"
* code.coding ^slicing.rules = #open
* code.coding ^slicing.description = "ICD-10-CM beside any other system"
* code.coding contains icd10cm 0..* MS
* code.coding[icd10cm] from http://example.org/fhir-coding-assist/ValueSet/m99-stenosis-codes (preferred)
* code.coding[icd10cm].system 1..1
* code.coding[icd10cm].system = $icd10cm
* code.text MS
* bodySite MS
* bodySite ^short = "The region; SNOMED CT sites are mapped by ConceptMap snomed-ct-body-site-to-region"
* subject MS
* encounter MS
* encounter ^short = "Decides on the date of service and on how certain the diagnosis has to be"
* recordedDate MS
* asserter MS
* evidence MS
* evidence.detail MS
* evidence.detail ^short = "The reports that the diagnosis rests on"
* note MS

Invariant: dsc-1
Description: "A header such as M99.4 is not reported; a code beneath it names the region."
Severity: #warning
Expression: "code.coding.where(system = 'http://hl7.org/fhir/sid/icd-10-cm' and code.matches('^M99\\.[2-7]$')).empty()"

Invariant: dsc-2
Description: "A code of these families stands beside the words that document it: code.text, a note, or evidence."
Severity: #warning
Expression: "code.coding.where(system = 'http://hl7.org/fhir/sid/icd-10-cm' and code.startsWith('M99.')).empty() or code.text.exists() or note.exists() or evidence.exists()"

Invariant: dsc-3
Description: "A diagnosis has a code or words."
Severity: #warning
Expression: "code.exists()"

Profile: StenosisEvidenceReport
Parent: DiagnosticReport
Id: stenosis-evidence-report
Title: "DiagnosticReport as evidence of a stenosis"
Description: "A report, of imaging as a rule, whose text supports the tissue, the region or the imaging details of a documented stenosis. It forbids nothing that US Core 6.1, 7.0 or 8.0 allows."
* ^experimental = false
* obeys ser-1 and ser-2
* status MS
* category MS
* code MS
* code from http://example.org/fhir-coding-assist/ValueSet/imaging-report (preferred)
* code ^short = "The exam; it gives modality and regions examined"
* subject MS
* subject ^short = "A report about another patient is not used"
* encounter MS
* effective[x] MS
* issued MS
* performer MS
* imagingStudy MS
* conclusion MS
* presentedForm MS
* presentedForm ^short = "Text, HTML, RTF or PDF with text; nothing is fetched from an address"

Invariant: ser-1
Description: "The report has text that can be read: a conclusion, a presented form or a narrative."
Severity: #warning
Expression: "conclusion.exists() or presentedForm.exists() or text.exists()"

Invariant: ser-2
Description: "Only a final, amended, corrected or appended report is evidence."
Severity: #warning
Expression: "status = 'final' or status = 'amended' or status = 'corrected' or status = 'appended'"

Profile: DocumentationQuery
Parent: Questionnaire
Id: documentation-query
Title: "Documentation query"
Description: "A compliant query to a provider: the record's own words as indicators, then questions with options that lead nowhere. Written with the extensions of Structured Data Capture (SDC); it keeps its invariants sdc-1 and sdc-2."
* ^experimental = false
* obeys dq-1 and dq-2
* title 1..1 MS
* status MS
* subjectType 1..1 MS
* subjectType = #Patient
* item 1..* MS
* item.extension contains QueryIndicator named indicator 0..1 MS and $hidden named hidden 0..1 MS
* item.linkId MS
* item.text MS
* item.type MS
* item.enableWhen MS
* item.required MS
* item.required = false
* item.required ^short = "No answer is forced"
* item.answerOption MS
* item.answerOption.extension contains OptionIndicator named indicator 0..* MS

Invariant: dq-1
Description: "Every choice offers that it cannot be determined."
Severity: #error
Expression: "item.where(type = 'choice').all(answerOption.where(value.code = 'unable-to-determine').exists())"

Invariant: dq-2
Description: "A version goes with the algorithm by which versions are compared (sdc-2)."
Severity: #error
Expression: "version.exists() implies extension.where(url = 'http://hl7.org/fhir/StructureDefinition/artifact-versionAlgorithm').exists()"

Extension: QueryIndicator
Id: query-indicator
Title: "Query indicator"
Description: "A quote of the record that a question rests on, with its place."
* ^experimental = false
* ^context.type = #element
* ^context.expression = "Questionnaire.item"
* extension contains
    quote 1..1 and
    source 1..1 and
    expression 1..1 and
    start 1..1 and
    end 1..1 and
    priorEncounter 1..1 and
    date 0..1 and
    status 0..1
* extension[quote] ^short = "Exactly the text at expression from start to end"
* extension[quote].value[x] only string
* extension[source] ^short = "The resource quoted"
* extension[source].value[x] only Reference
* extension[expression] ^short = "FHIRPath of the text"
* extension[expression].value[x] only string
* extension[start] ^short = "Offset of the first character (Unicode code points)"
* extension[start].value[x] only integer
* extension[end] ^short = "Offset behind the last character"
* extension[end].value[x] only integer
* extension[priorEncounter] ^short = "Is it of an earlier encounter?"
* extension[priorEncounter].value[x] only boolean
* extension[date] ^short = "The date of what is quoted"
* extension[date].value[x] only date
* extension[status] ^short = "The status of what is quoted"
* extension[status].value[x] only code

Extension: OptionIndicator
Id: option-indicator
Title: "Option indicator"
Description: "The linkId of the indicator that an option rests on."
* ^experimental = false
* ^context.type = #element
* ^context.expression = "Questionnaire.item.answerOption"
* value[x] only string
* value[x] 1..1

Extension: IssueCitation
Id: citation
Title: "Citation of an issue"
Description: "What an issue rests on: title and section of a source of its rule."
* ^experimental = false
* ^context.type = #element
* ^context.expression = "OperationOutcome.issue"
* value[x] only string
* value[x] 1..1
