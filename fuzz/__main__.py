"""Coverage-guided fuzzing: `python -m fuzz TARGET [libFuzzer's options and corpus]`.

packet, sequence: the engine's C path, through libFuzzer in the sanitizer build (build/fuzz, see CMakeLists.txt).
ruleset, capture, helper: the Python layers, through atheris. `seeds DIRECTORY` writes the seed corpora.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

RULES = Path(__file__).parents[1] / "examples" / "gateway.rules"
LAYERS = ("ruleset", "capture", "helper")


def native(target: str, arguments: list[str]) -> int:
    """The targets written in Cython. The fuzzer's module comes first: the others report their coverage to it."""
    sys.setdlopenflags(os.RTLD_NOW | ctypes.RTLD_GLOBAL)
    import fuzz_native

    import fastfw

    rules = fastfw.Ruleset.parse(RULES.read_text(encoding="utf-8"))
    settings = {"nf_conntrack_max": 64, "nf_conntrack_checksum": 0}
    engine = fastfw.Engine(rules4=rules, settings=settings, helpers=["ftp", "tftp"], seed=bytes(88))
    return int(fuzz_native.run(target, arguments, engine))


def layer(target: str, arguments: list[str]) -> int:
    """The targets written in Python; their modules are imported so that atheris sees their branches."""
    import atheris

    with atheris.instrument_imports(include=["fastfw"]):
        from fuzz import layers
    atheris.Setup([f"fuzz-{target}", *arguments], getattr(layers, target))
    atheris.Fuzz()
    return 0


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["seeds"] and len(arguments) == 2:
        from fuzz.seeds import write

        write(Path(arguments[1]))
        return 0
    if arguments and arguments[0] in ("packet", "sequence"):
        return native(arguments[0], arguments[1:])
    if arguments and arguments[0] in LAYERS:
        return layer(arguments[0], arguments[1:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
