"""What an operator is told when something cannot be done."""


class OperatorError(Exception):
    """Why it was not done, and what to do: a sentence that names what is wrong and holds no word of a record."""
