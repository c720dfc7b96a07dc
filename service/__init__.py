"""FHIR Coding Assist: suggests ICD-10-CM codes with their evidence and asks for what the documentation lacks."""

__version__ = "0.1.0"
