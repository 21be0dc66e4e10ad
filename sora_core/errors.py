"""What goes wrong because of what a person asked for, told in a sentence to that person."""

LONGEST = 500  # characters


class UserError(ValueError):
    """A mistake that the user can put right: its message is one clear sentence saying what is wrong and what to do.

    The command line prints it and exits with 2; a node shows it. Anything else that is raised is the program's fault.
    A name out of a stranger's file may be of any length: what is too long to read loses its middle.
    """

    def __init__(self, message: str):
        if len(message) > LONGEST:
            message = f"{message[: LONGEST - 150]} ... {message[-140:]}"
        super().__init__(message)
