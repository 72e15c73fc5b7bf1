"""Builds the Cython modules; everything else is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent

# These modules are one loop over packets: -O3, unless who builds asks for another level.
LEVEL = [] if "-O" in os.environ.get("CFLAGS", "") else ["-O3"]

extensions = [
    Extension(
        ".".join(source.relative_to(ROOT / "src").with_suffix("").parts),
        [str(source.relative_to(ROOT))],
        include_dirs=["src/fastfw/core"],
        depends=[str(header.relative_to(ROOT)) for header in sorted(ROOT.glob("src/fastfw/**/*.h"))],
        extra_compile_args=[*LEVEL, "-fno-semantic-interposition"],
    )
    for source in sorted(ROOT.glob("src/fastfw/**/*.pyx"))
]

setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython",
        nthreads=os.cpu_count() or 1,
        include_path=["src"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "freethreading_compatible": True,
            "embedsignature": True,
        },
    ),
)
