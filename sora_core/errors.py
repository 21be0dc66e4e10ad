"""What goes wrong because of what a person asked for, told in a sentence to that person."""


class UserError(ValueError):
    """A mistake that the user can put right: its message is one clear sentence saying what is wrong and what to do.

    The command line prints it and exits with 2; a node shows it. Anything else that is raised is the program's fault.
    """
