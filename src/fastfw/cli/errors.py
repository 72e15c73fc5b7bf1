"""The error that ends a command with one line and exit status 2, and how such lines are made safe."""


class CliError(Exception):
    """Something the user gave cannot be used; the message is one line that says what and why."""


def printable(text: str) -> str:
    """Text from a ruleset or a file made safe for a terminal: no control characters, no undecodable bytes."""
    clean = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in clean)
