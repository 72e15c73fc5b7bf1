"""cluster: whether this node of several is to handle a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option, Site
from fastfw.ruleset.ext.values import number, show_hex, show_number
from fastfw.ruleset.numbers import UINT32

NODE_LIMIT = 32


def _node(text: str, context: Context) -> int:
    return 1 << (int(number(NODE_LIMIT, 1)(text, context)) - 1)


@dataclass(slots=True)
class Cluster(Match):
    """`nodes` has a bit for each node number that is this one, node 1 the lowest."""

    name: ClassVar[str] = "cluster"

    nodes: int = 0
    invert: bool = False
    total: int = 0
    seed: int = 0

    options: ClassVar[tuple[Option, ...]] = (
        Option("cluster-local-nodemask", "nodes", number(NODE_LIMIT, 1), show_hex(8), "invert"),
        Option(
            "cluster-local-node",
            "nodes",
            _node,
            None,
            "invert",
            excludes=("cluster-local-nodemask",),
            silent=True,
        ),
        Option("cluster-total-nodes", "total", number(NODE_LIMIT, 1), show_number, required=True),
        Option("cluster-hash-seed", "seed", number(UINT32), show_hex(8), required=True),
    )

    def finish(self, context: Context) -> None:
        """This node must be one of all."""
        if not self.nodes:
            raise Refusal("cluster needs --cluster-local-node or --cluster-local-nodemask")
        Match.finish(self, context)
        if self.nodes >> self.total:
            raise Refusal("cluster's local node is beyond --cluster-total-nodes")

    def check(self, site: Site) -> None:
        """Checked when read; rules built by hand are checked here."""
        if self.nodes >> self.total:
            raise Refusal("cluster's local node is beyond --cluster-total-nodes")
