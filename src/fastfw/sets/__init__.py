"""ipset's sets: their text, and their contents as objects."""

from fastfw.sets.model import Element, IpSet, Kept, SetError, Sets

__all__ = ["Element", "IpSet", "Kept", "SetError", "Sets"]
