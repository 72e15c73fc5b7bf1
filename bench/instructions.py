"""Instructions a packet, counted by callgrind: what a change costs, told on a machine whose clock cannot be trusted.

    python bench/instructions.py            count, and compare with instructions.json; exit status 1 for over 10 % more
    python bench/instructions.py --write    count, and write instructions.json

Counts depend on the compiler and its flags, hardly on the processor: figures are kept for each compiler's major
version, and where none are kept for the one at hand that is said and nothing fails. What the package chooses by the
processor at hand (SCTP's checksum, large rulesets' sets) is in none of the workloads.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
FIGURES = HERE / "instructions.json"
ALLOWED = 1.10
LIMIT = 110  # seconds for the whole count

Work = Callable[[], object]
"""What is counted; everything it needs has been made, and it has run before."""


def compiler() -> str:
    """The C compiler that builds extensions and the processor family, as the figures are filed."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    text = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    name = "clang" if "clang" in text else "gcc"
    version = re.search(r"(\d+)\.\d+\.\d+", text)
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return f"{name}-{version[1] if version else '?'}-{platform.machine()}-{python}"


def count() -> dict[str, float]:
    """Instructions a packet of every workload."""
    with tempfile.TemporaryDirectory() as folder:
        marks = Path(folder) / "marks.so"
        cc = (sysconfig.get_config_var("CC") or "cc").split()
        subprocess.run([*cc, "-O2", "-shared", "-fPIC", "-o", str(marks), str(HERE / "marks.c")], check=True)
        command = [
            "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out", sys.executable,
            __file__, "--child", str(marks),
        ]  # fmt: skip
        environment = os.environ | {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
        if run.returncode:
            raise SystemExit(f"callgrind failed:\n{run.stderr[-4000:]}")
        packets = json.loads(run.stdout)
        return {name: round(total / packets[name], 1) for name, total in parts(Path(folder))}


def parts(folder: Path) -> Iterator[tuple[str, int]]:
    """The named parts of a profile, and the instructions in each."""
    for path in sorted(folder.glob("out.*")):
        text = path.read_text(errors="replace")
        name = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if name and total:
            yield name[1], int(total[1])


def child(marks: str) -> None:
    """Run every workload between its marks; prints the packets of each."""
    from workloads import WORKLOADS

    library = ctypes.CDLL(marks)
    packets = {}
    for name, prepare in WORKLOADS.items():
        work, packets[name] = prepare()
        work()
        library.marks_begin()
        work()
        library.marks_end(name.encode())
    print(json.dumps(packets))


def main() -> int:
    """Count, then compare or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make what is counted the committed figures")
    parser.add_argument("--child", metavar="MARKS", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return 0
    if shutil.which("valgrind") is None or not Path("/usr/include/valgrind/callgrind.h").exists():
        print("instructions: valgrind is not installed, nothing is counted")
        return 0
    kept = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    here = compiler()
    counted = count()
    known = kept.get(here, {})
    worse = []
    for name, figure in counted.items():
        before = known.get(name)
        change = "" if before is None else f"{100 * (figure / before - 1):+6.1f} %"
        print(f"{name:<44} {figure:>9.1f} instructions {change}")
        if before is not None and figure > before * ALLOWED:
            worse.append(f"{name}: {figure} instructions, {before} committed")
    if args.write:
        kept[here] = counted
        FIGURES.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
        return 0
    if not known:
        print(f"instructions: no figures are kept for {here}, nothing is compared")
    for line in worse:
        print(f"over 10 % more: {line}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
