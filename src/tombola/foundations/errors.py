"""Exception that users are meant to read."""


class TombolaError(Exception):
    """Error that the user can mend: the message says what is wrong, where, and what to do, in one line.

    The command line prints the message and exits with code 2; any other exception is a defect of Tombola.
    """
