"""The root of what the trainer may raise at its user; each subclass stands at the top of the file that raises it."""

_NO_VARIABLE = ("out", "json", "markdown", "html")  # may be typed and not set in the environment


class TrainerError(Exception):
    """The work cannot be done, for a reason outside the code; str() is one sentence for the person at the terminal."""


class WrongArgument(TrainerError):
    """A setting, or another option, cannot be meant as it was given: wrong usage, whichever file finds it out."""

    def __init__(self, setting: str, complaint: str) -> None:
        variable = "" if setting in _NO_VARIABLE else f" (LUNGCT_{setting.upper()})"
        super().__init__(f"{setting}{variable}: {complaint}.")
