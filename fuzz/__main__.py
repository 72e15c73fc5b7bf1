"""Coverage-guided fuzzing: `python -m fuzz TARGET [libFuzzer's options and corpus]`.

packet, sequence, fragments, netlink: the C paths; capture, state: files read by both languages. These run in the
sanitizer build, through libFuzzer (build/fuzz, see CMakeLists.txt). ruleset, command, helper, request, config: the
Python layers, through atheris. `targets native|layer` lists them, `seeds DIRECTORY` writes the seed corpora.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

NATIVE = ("packet", "sequence", "fragments", "netlink", "capture", "state")
LAYERS = ("ruleset", "command", "helper", "request", "config")
SMALL = {
    "nf_conntrack_max": 64,
    "nf_conntrack_expect_max": 16,
    "nf_conntrack_acct": 1,
    "ipfrag_high_thresh": 40000,
    "nf_conntrack_frag6_high_thresh": 40000,
}
"""Full after a few packets; what fuzz_native.pyx checks against."""


def native(target: str, arguments: list[str]) -> int:
    """The targets that run in C. The fuzzer's module comes first: the others report their coverage to it."""
    sys.setdlopenflags(os.RTLD_NOW | ctypes.RTLD_GLOBAL)
    import fuzz_native
    from fuzz import files
    from fuzz.rules import everything

    import fastfw

    engine = fastfw.Engine(settings={**SMALL, "nf_conntrack_checksum": 0}, helpers=["ftp", "tftp"], seed=bytes(88))
    if target in ("packet", "sequence", "fragments"):
        engine.replace(rules4=everything(4), rules6=everything(6))
    of_bytes = getattr(files, target)(engine) if target in ("capture", "state") else None
    return int(fuzz_native.run(target, arguments, engine, of_bytes))


def layer(target: str, arguments: list[str]) -> int:
    """The targets written in Python; their modules are imported so that atheris sees their branches."""
    import atheris

    with atheris.instrument_imports(include=["fastfw", "tomllib"]):
        from fuzz import layers
    atheris.Setup([f"fuzz-{target}", *arguments], getattr(layers, target))
    atheris.Fuzz()
    return 0


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["seeds"] and len(arguments) == 2:
        from fuzz.seeds import write

        write(Path(arguments[1]))
        return 0
    if arguments[:1] == ["targets"] and arguments[1:] in (["native"], ["layer"]):
        print(*(NATIVE if arguments[1] == "native" else LAYERS))
        return 0
    if arguments and arguments[0] in NATIVE:
        return native(arguments[0], arguments[1:])
    if arguments and arguments[0] in LAYERS:
        return layer(arguments[0], arguments[1:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
