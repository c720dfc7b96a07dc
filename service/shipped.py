"""Where the folders lie that ship with the code: terminology/ and fhir_profiles/."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def terminology_dir() -> Path:
    """Code systems, lexicon and rule packs, as shipped."""
    return _shipped("terminology")


def fhir_profiles_dir() -> Path:
    """The FHIR conformance resources that we publish."""
    return _shipped("fhir_profiles")


def _shipped(folder: str) -> Path:
    # An installed wheel has the folder inside the package, a checkout (editable or bare) beside it.
    for place in (_PACKAGE / folder, _PACKAGE.parent / folder):
        if place.is_dir():
            return place
    raise FileNotFoundError(
        f"{folder}/ is neither in {_PACKAGE} nor beside it. Install the package again, or restore the checkout."
    )
