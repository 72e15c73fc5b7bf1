"""The compiled ruleset as the engine takes it."""

class Rules:
    """A ruleset's programs in one block of memory."""

    def bind_interface(self, number: int, name: str) -> None:
        """Let the rules know interface `number` (the engine's count, from 1) as `name`."""
