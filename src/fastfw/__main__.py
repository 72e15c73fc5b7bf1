"""`python -m fastfw`: the command line."""

from fastfw.cli import main

raise SystemExit(main())
