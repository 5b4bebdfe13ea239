"""The one exception that a user can cause."""


class UserError(ValueError):
    """Something the user asked for cannot be done: the message says what is valid, or what to do.

    The command line prints it as one line and exits with status 2; nothing has been destroyed.
    """
