"""The one error of the core: knowledge that is wrong stops the service at start-up."""


class PackError(Exception):
    """Names the file, what is wrong in it, and what to do, in one sentence or two."""
