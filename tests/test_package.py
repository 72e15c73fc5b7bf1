"""What is installed: the right files, typed, without surprises."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from enum import IntEnum
from importlib.metadata import metadata, version
from pathlib import Path

import pytest

import fastfw

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src"


def test_version_is_the_installed_one() -> None:
    """fastfw.__version__ and the package's metadata agree."""
    assert fastfw.__version__ == version("fastfw")


def test_core_needs_numpy_alone() -> None:
    """Only NumPy is a dependency; everything else is an extra."""
    required = [line for line in metadata("fastfw").get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert [line.split(">")[0] for line in required] == ["numpy"]


def test_import_takes_no_extra() -> None:
    """`import fastfw` loads none of the optional libraries."""
    code = "import sys, fastfw; print([m for m in ('rich', 'msgspec', 'prometheus_client') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_name_exists() -> None:
    """What __all__ promises can be had, and has a docstring."""
    for name in fastfw.__all__:
        assert getattr(fastfw, name) is not None
        if name != "__version__":
            assert getattr(fastfw, name).__doc__, name


def test_lower_layers_import_nothing_higher() -> None:
    """Bytes, packet, connection, rules, decision: core knows no other package, drivers no daemon."""
    forbidden = {
        "core": ("fastfw.ruleset", "fastfw.helpers", "fastfw.drivers", "fastfw.gateway", "fastfw.cli", "fastfw.engine"),
        "ruleset": ("fastfw.helpers", "fastfw.drivers", "fastfw.gateway", "fastfw.cli"),
        "helpers": ("fastfw.drivers", "fastfw.gateway", "fastfw.cli"),
        "drivers": ("fastfw.gateway", "fastfw.cli"),
        "gateway": ("fastfw.cli",),
    }
    for package, names in forbidden.items():
        for path in (SOURCES / "fastfw" / package).rglob("*.p[yx]*"):
            if path.suffix not in (".py", ".pyx", ".pxd"):
                continue
            lines = path.read_text(encoding="utf-8").splitlines()
            for number, line in enumerate(lines, 1):
                if line.lstrip().startswith(("import ", "from ")):
                    assert not any(f" {name}" in line for name in names), f"{path}:{number}: {line}"


def test_enum_stubs_list_every_member() -> None:
    """The stub of core.terms names each member with its number."""
    terms = importlib.import_module("fastfw.core.terms")
    said: dict[str, IntEnum] = {}
    exec(Path(terms.__file__).with_name("terms.pyi").read_text(encoding="utf-8"), said)
    for name in ("Verdict", "State", "Hook", "Status", "Reason"):
        actual, stub = getattr(terms, name), said[name]
        assert {m.name: int(m) for m in actual} == {m.name: int(m) for m in stub}, name  # type: ignore[attr-defined]


@pytest.mark.long
def test_wheel_and_sdist(tmp_path: Path) -> None:
    """A wheel built from the sdist carries declarations, stubs and headers, no source that is not needed, and works."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    quick = {**os.environ, "CFLAGS": "-O0"}
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True, check=False, env=quick)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"fastfw/{p.relative_to(SOURCES / 'fastfw')}" for p in (SOURCES / "fastfw").rglob("*") if p.is_file()}
    for ending in (".pxd", ".pyi", ".h", ".py", "py.typed"):
        wanted = {name for name in shipped if name.endswith(ending)}
        assert wanted, ending
        assert wanted <= names, wanted - names
    assert not [name for name in names if name.endswith((".c", ".pyx", ".cpp"))]
    modules = {name.rsplit("/", 1)[-1].split(".")[0] for name in names if name.endswith(".so")}
    assert modules == {path.stem for path in (SOURCES / "fastfw").rglob("*.pyx")}
    place = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", place, wheel], check=True)
    code = "import fastfw, sys; print(fastfw.__file__); fastfw.Engine().expire(0)"
    said = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(place), *sys.path]!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert said.stdout.startswith(str(place))
