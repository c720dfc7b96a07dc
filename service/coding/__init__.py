"""The pure core: what a coder has to trust. It knows no web, no FHIR model, no network, no clock, no database."""
