"""The error that ends a command with one line and exit status 2."""


class CliError(Exception):
    """Something the user gave cannot be used; the message is one line that says what and why."""
