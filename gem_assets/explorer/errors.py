"""What a view cannot answer, as a sentence that tells a person the way on."""


class NothingYetError(LookupError):
    """A view has nothing to show yet; the message says what to run."""


class UnknownError(LookupError):
    """There is nothing of that name; the message says what there is."""


class RequestError(ValueError):
    """A question that cannot be asked; the message says what can."""
