"""The compiled ruleset's form; see program.pxd."""

OPS = {name.removeprefix("OP_"): int(value) for name, value in Op.__members__.items()}
ACTIONS = {name.removeprefix("ACT_"): int(value) for name, value in Action.__members__.items()}

LAYOUT = {"Predicate": sizeof(Predicate), "Rule": sizeof(Rule), "Stage": sizeof(Stage)}
