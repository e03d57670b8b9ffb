"""The root of what the trainer may raise at its user; each subclass stands at the top of the file that raises it."""


class TrainerError(Exception):
    """The work cannot be done, for a reason outside the code; str() is one sentence for the person at the terminal."""
