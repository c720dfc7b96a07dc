"""The required bindings of R4 that are checked: which codes an element takes."""

from __future__ import annotations

from collections.abc import Mapping

CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VER_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"

# Required bindings of R4 4.0.1 to a CodeableConcept, element by element: system and codes.
REQUIRED_CONCEPTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Condition.clinicalStatus": (
        CONDITION_CLINICAL,
        ("active", "recurrence", "relapse", "inactive", "remission", "resolved"),
    ),
    "Condition.verificationStatus": (
        CONDITION_VER_STATUS,
        ("unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"),
    ),
}

# Required bindings of R4 4.0.1 to a code, read from its StructureDefinitions and ValueSets; a type inside a resource
# goes by its fhir.resources name (Bundle.entry.request is BundleEntryRequest).
_REQUEST = "draft active on-hold revoked completed entered-in-error unknown"
_INTENT = "proposal plan directive order original-order reflex-order filler-order instance-order option"
_PRIORITY = "routine urgent asap stat"
_CLAIM = "active cancelled draft entered-in-error"
_GENDER = "male female other unknown"
_ENCOUNTER = "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
_DAYS = "mon tue wed thu fri sat sun"
_UNITS_OF_TIME = "s min h d wk mo a"
_CURRENCIES = (  # ISO 4217: those of today, and those that it has withdrawn since R4
    "AFN EUR ALL DZD USD AOA XCD ARS AMD AWG AUD AZN BSD BHD BDT BBD BYN BZD XOF BMD INR BTN BOB BOV BAM BWP NOK "
    "BRL BND BGN BIF CVE KHR XAF CAD KYD CLP CLF CNY COP COU KMF CDF NZD CRC CUP CUC ANG CZK DKK DJF DOP EGP SVC "
    "ERN SZL ETB FKP FJD XPF GMD GEL GHS GIP GTQ GBP GNF GYD HTG HNL HKD HUF ISK IDR XDR IRR IQD ILS JMD JPY JOD "
    "KZT KES KPW KRW KWD KGS LAK LBP LSL ZAR LRD LYD CHF MOP MKD MGA MWK MYR MVR MRU MUR XUA MXN MXV MDL MNT MAD "
    "MZN MMK NAD NPR NIO NGN OMR PKR PAB PGK PYG PEN PHP PLN QAR RON RUB RWF SHP WST STN SAR RSD SCR SLE SGD XSU "
    "SBD SOS SSP LKR SDG SRD SEK CHE CHW SYP TWD TJS TZS THB TOP TTD TND TRY TMT UGX UAH AED USN UYU UYI UYW UZS "
    "VUV VES VED VND YER ZMW ZWG XBA XBB XBC XBD XTS XXX XAU XPD XPT XAG HRK SLL VEF ZWL"
)
REQUIRED_CODES: Mapping[str, tuple[str, ...]] = {
    element: tuple(codes.split())
    for element, codes in {
        "Address.type": "postal physical both",
        "Address.use": "home work temp old billing",
        "Appointment.status": "proposed pending booked arrived fulfilled cancelled noshow entered-in-error "
        "checked-in waitlist",
        "AppointmentParticipant.required": "required optional information-only",
        "AppointmentParticipant.status": "accepted declined tentative needs-action",
        "Bundle.type": "document message transaction transaction-response batch batch-response history searchset "
        "collection",
        "BundleEntryRequest.method": "GET HEAD POST PUT DELETE PATCH",
        "BundleEntrySearch.mode": "match include outcome",
        "Claim.status": _CLAIM,
        "Claim.use": "claim preauthorization predetermination",
        "CommunicationRequest.priority": _PRIORITY,
        "CommunicationRequest.status": _REQUEST,
        "ContactPoint.system": "phone fax email pager url sms other",
        "ContactPoint.use": "home work temp old mobile",
        "Contributor.type": "author editor reviewer endorser",
        "Coverage.status": _CLAIM,
        "DataRequirementSort.direction": "ascending descending",
        "DeviceRequest.intent": _INTENT,
        "DeviceRequest.priority": _PRIORITY,
        "DeviceRequest.status": _REQUEST,
        "DiagnosticReport.status": "registered partial preliminary final amended corrected appended cancelled "
        "entered-in-error unknown",
        "DocumentReference.docStatus": "preliminary final amended entered-in-error",
        "DocumentReference.status": "current superseded entered-in-error",
        "DocumentReferenceRelatesTo.code": "replaces transforms signs appends",
        "Encounter.status": _ENCOUNTER,
        "EncounterLocation.status": "planned active reserved completed",
        "EncounterStatusHistory.status": _ENCOUNTER,
        "HumanName.use": "usual official temp nickname anonymous old maiden",
        "Identifier.use": "usual official temp secondary old",
        "MedicationRequest.intent": "proposal plan order original-order reflex-order filler-order instance-order "
        "option",
        "MedicationRequest.priority": _PRIORITY,
        "MedicationRequest.status": "active on-hold cancelled completed entered-in-error stopped draft unknown",
        "Money.currency": _CURRENCIES,
        "Narrative.status": "generated extensions additional empty",
        "NutritionOrder.intent": _INTENT,
        "NutritionOrder.status": _REQUEST,
        "Observation.status": "registered preliminary final amended corrected cancelled entered-in-error unknown",
        "OperationOutcomeIssue.code": "invalid structure required value invariant security login unknown expired "
        "forbidden suppressed processing not-supported duplicate multiple-matches not-found deleted too-long "
        "code-invalid extension too-costly business-rule conflict transient lock-error no-store exception timeout "
        "incomplete throttled informational",
        "OperationOutcomeIssue.severity": "fatal error warning information",
        "ParameterDefinition.use": "in out",
        "Patient.gender": _GENDER,
        "PatientContact.gender": _GENDER,
        "PatientLink.type": "replaced-by replaces refer seealso",
        "Practitioner.gender": _GENDER,
        "PractitionerRoleAvailableTime.daysOfWeek": _DAYS,
        "Quantity.comparator": "< <= >= >",
        "Questionnaire.status": "draft active retired unknown",
        "QuestionnaireItem.enableBehavior": "all any",
        "QuestionnaireItem.type": "group display question boolean decimal integer date dateTime time string text url "
        "choice open-choice attachment reference quantity",
        "QuestionnaireItemEnableWhen.operator": "exists = != > < >= <=",
        "QuestionnaireResponse.status": "in-progress completed amended entered-in-error stopped",
        "RelatedArtifact.type": "documentation justification citation predecessor successor derived-from depends-on "
        "composed-of",
        "ServiceRequest.intent": _INTENT,
        "ServiceRequest.priority": _PRIORITY,
        "ServiceRequest.status": _REQUEST,
        "Task.intent": "unknown proposal plan order original-order reflex-order filler-order instance-order option",
        "Task.priority": _PRIORITY,
        "Task.status": "draft requested received accepted rejected ready cancelled in-progress on-hold failed "
        "completed entered-in-error",
        "TimingRepeat.dayOfWeek": _DAYS,
        "TimingRepeat.durationUnit": _UNITS_OF_TIME,
        "TimingRepeat.periodUnit": _UNITS_OF_TIME,
        "TimingRepeat.when": "MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS "
        "HS WAKE C CM CD CV AC ACM ACD ACV PC PCM PCD PCV",
        "TriggerDefinition.type": "named-event periodic data-changed data-added data-modified data-removed "
        "data-accessed data-access-ended",
        "VisionPrescription.status": _CLAIM,
        "VisionPrescriptionLensSpecification.eye": "right left",
        "VisionPrescriptionLensSpecificationPrism.base": "up down in out",
    }.items()
}
