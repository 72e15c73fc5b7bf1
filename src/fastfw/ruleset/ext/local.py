"""cpu, cgroup, owner, socket and osf: what only the host the packet is on can know."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass
from typing import ClassVar

from fastfw.ruleset.errors import Refusal
from fastfw.ruleset.ext.base import Context, Match, Option
from fastfw.ruleset.ext.values import Range, number, show_number, show_plain, text
from fastfw.ruleset.numbers import UINT32, strtoul


@dataclass(slots=True)
class Cpu(Match):
    """`cpu` counts from 0."""

    name: ClassVar[str] = "cpu"

    cpu: int = 0
    invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("cpu", "cpu", number(UINT32), show_number, "invert", required=True),
    )


def _show_path(value: str, family: int) -> str:
    return f'"{value}"'


@dataclass(slots=True)
class CGroup(Match):
    """Either `classid` or `path`."""

    name: ClassVar[str] = "cgroup"
    hooks: ClassVar[tuple[str, ...]] = ("INPUT", "OUTPUT", "POSTROUTING")

    path: str | None = None
    path_invert: bool = False
    classid: int | None = None
    classid_invert: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("path", "path", text(511), _show_path, "path_invert", excludes=("cgroup",)),
        Option("cgroup", "classid", number(UINT32), show_number, "classid_invert"),
    )

    def finish(self, context: Context) -> None:
        """One of both must be given."""
        if not context.seen:
            raise Refusal("cgroup needs --path or --cgroup")
        Match.finish(self, context)


ID_LIMIT = UINT32 - 1


def _ids(text: str) -> Range:
    first, dash, last = text.partition("-")
    ends = [strtoul(part) for part in ([first, last] if dash else [first])]
    numbers = [end[0] for end in ends if end is not None and not end[1] and end[0] <= ID_LIMIT]
    if len(numbers) != len(ends):
        raise Refusal(f"`{text}' is neither a known name nor a number or a range of numbers")
    return numbers[0], numbers[-1]


def _users(text: str, context: Context) -> Range:
    try:
        user = pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        return _ids(text)
    return user, user


def _groups(text: str, context: Context) -> Range:
    try:
        group = grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        return _ids(text)
    return group, group


def _show_ids(value: Range, family: int) -> str:
    return str(value[0]) if value[0] == value[1] else f"{value[0]}-{value[1]}"


@dataclass(slots=True)
class Owner(Match):
    """Numbers of users and groups, both ends included."""

    name: ClassVar[str] = "owner"
    hooks: ClassVar[tuple[str, ...]] = ("OUTPUT", "POSTROUTING")

    socket_exists: bool = False
    socket_invert: bool = False
    uid: Range | None = None
    uid_invert: bool = False
    gid: Range | None = None
    gid_invert: bool = False
    supplementary: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("socket-exists", "socket_exists", None, None, "socket_invert"),
        Option("uid-owner", "uid", _users, _show_ids, "uid_invert"),
        Option("gid-owner", "gid", _groups, _show_ids, "gid_invert"),
        Option("suppl-groups", "supplementary", requires=("gid-owner",)),
    )

    def finish(self, context: Context) -> None:
        """At least one option must be given."""
        if not context.seen:
            raise Refusal("owner needs --uid-owner, --gid-owner or --socket-exists")
        for ids in (self.uid, self.gid):
            if ids is not None and ids[1] < ids[0]:
                raise Refusal(f"range {ids[0]}-{ids[1]} ends before it begins")
        Match.finish(self, context)


@dataclass(slots=True)
class Socket(Match):
    """A socket of this host takes the packet."""

    name: ClassVar[str] = "socket"
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "INPUT")

    transparent: bool = False
    nowildcard: bool = False
    restore_mark: bool = False

    options: ClassVar[tuple[Option, ...]] = (
        Option("transparent", "transparent"),
        Option("nowildcard", "nowildcard"),
        Option("restore-skmark", "restore_mark"),
    )


@dataclass(slots=True)
class Osf(Match):
    """`genre` is an operating system's; `ttl` and `log` are levels 0 to 2, None: not asked."""

    name: ClassVar[str] = "osf"
    families: ClassVar[tuple[int, ...]] = (4,)
    hooks: ClassVar[tuple[str, ...]] = ("PREROUTING", "INPUT", "FORWARD")
    protocols: ClassVar[tuple[int, ...]] = (6,)

    genre: str = ""
    invert: bool = False
    ttl: int | None = None
    log: int | None = None

    options: ClassVar[tuple[Option, ...]] = (
        Option("genre", "genre", text(31), show_plain, "invert", required=True),
        Option("ttl", "ttl", number(2), show_number),
        Option("log", "log", number(2), show_number),
    )
