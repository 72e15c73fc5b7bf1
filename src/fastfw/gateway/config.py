"""The daemon's configuration: TOML, strict, every fault named by its key and line."""

from __future__ import annotations

import re
import tomllib
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from fastfw.declared import DeclarationError, declare
from fastfw.engine import SettingError, check_setting
from fastfw.gateway.log import LEVELS
from fastfw.gateway.steer import HOOKS, TABLES, Plan
from fastfw.helpers import HelperError, parse_spec
from fastfw.timeouts import TimeoutPolicy

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Queue = Annotated[int, Meta(ge=0, le=65535)]
Rate = Annotated[float, Meta(ge=0, le=1e9)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Name = Annotated[str, Meta(min_length=1, max_length=15)]
Table = Literal["mangle", "filter", "raw", "security"]
Hook = Literal["INPUT", "FORWARD", "OUTPUT"]
Level = Literal["emerg", "alert", "crit", "error", "warning", "notice", "info", "debug"]

assert get_args(Table) == TABLES
assert get_args(Hook) == HOOKS
assert get_args(Level) == LEVELS


DECLARED = {"local": "local", "routes": "routes", "groups": "groups", "assume": "assume", "time_zone": "zone"}
"""Keys of section host that are declared, by the parameter of `declare`."""


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is FILE:LINE: KEY: what was expected."""


class Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True, omit_defaults=True):
    """A table of the file. What is not there has its default."""


class RulesSection(Section, frozen=True):
    """Files in iptables-save's format; an empty name: that family's packets are all accepted."""

    ipv4: str = ""
    ipv6: str = ""
    sets: tuple[str, ...] = ()
    """Files as `ipset save` prints them, with the sets that the rules name."""
    rejudge: bool = False
    """Whether a reload also forgets the connections that the new rules would not let begin."""
    save_at_stop: bool = False
    """Whether the rules in force, their counters included, are written back to their files at stop."""


class ConntrackSection(Section, frozen=True):
    """Helpers attached to their ports (`ftp`, `ftp:tcp:2121`) and settings by their sysctl names."""

    helpers: tuple[str, ...] = ()
    settings: dict[str, int] = {}
    timeouts: dict[str, TimeoutSection] = {}


class TimeoutSection(Section, frozen=True):
    """How long connections last that begin by a rule with `-j CT --timeout` and the section's name."""

    protocol: str
    family: Literal[4, 6] = 4
    seconds: dict[str, Count] = {}
    """By nfct's names: `established`, `unreplied`, `timeout`, ..."""


class HostSection(Section, frozen=True):
    """What rules are told of the host, as `fastfw.Engine` takes it."""

    local: tuple[str, ...] = ()
    """Its addresses, `192.0.2.1/24%eth0`."""
    routes: tuple[str, ...] = ()
    """Lines of `ip route`."""
    groups: dict[str, Annotated[int, Meta(ge=0, le=2**32 - 1)]] = {}
    assume: dict[str, bool] = {}
    """Whether matches hold that only the host's kernel can answer, by name."""
    time_zone: int | None = None
    """Its kernel's, in minutes east of UTC."""
    queues: tuple[Queue, ...] | None = None
    """Those that somebody reads, of rules with -j NFQUEUE; not there: all."""


class QueueSection(Section, frozen=True):
    """The kernel's packet queues: `first` and the `count - 1` after it, a thread each."""

    driver: Literal["nfqueue", "netfilterqueue"] = "nfqueue"
    """`netfilterqueue`: by the package of that name; it is slow, cuts packets at 4016 bytes, and takes super-packets
    apart whatever `gso` says."""
    first: Queue = 0
    count: Annotated[int, Meta(ge=1, le=256)] = 1
    length: Annotated[int, Meta(ge=1, le=2**24)] = 4096
    """Packets that the kernel holds for each."""
    copy_range: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Bytes of each packet that are copied to the engine; 0: as many as the rules and helpers need."""
    receive_buffer: Annotated[int, Meta(ge=65536, le=2**30)] = 16 << 20
    gso: bool = True
    fail_open: bool = False
    """Whether packets pass unjudged where the daemon does not run or its queue is full."""


class SteeringSection(Section, frozen=True):
    """The kernel's rules that hand packets to the queues."""

    install: bool = True
    keep: bool = False
    """Whether they stay when the daemon stops: then nothing passes until it runs again, unless it fails open."""
    table: Table = "mangle"
    hooks: tuple[Hook, ...] = get_args(Hook)
    families: tuple[Literal[4, 6], ...] = (4, 6)
    except_interfaces: tuple[Name, ...] = ()
    iptables: str = ""
    """The program, where it is neither iptables-legacy nor iptables on the path."""


class BypassSection(Section, frozen=True):
    """Established connections whose packets need not be queued any more."""

    mode: Literal["off", "auto", "on"] = "off"
    """`auto`: where the kernel has what it takes, and for connections that nobody counts; `on`: for these too, and the
    daemon does not start where the kernel cannot."""
    mask: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0xFFFF0000
    """Bits of packets' and connections' marks in the kernel that are fastfw's own: 16 neighbouring ones."""
    map: str = ""
    """A directory, to be made, on a BPF file system: connections skip by a flow map in the kernel instead of marks."""


class StateSection(Section, frozen=True):
    """Where connections are kept while the daemon does not run; an empty name: nowhere."""

    file: str = ""
    interval: Seconds = 0
    """Seconds between saves while it runs; 0: at stop alone."""


class ControlSection(Section, frozen=True):
    """The Unix socket that `fastfw conntrack`, `fastfw iptables` and the others talk to."""

    socket: str = "/run/fastfw/control"
    mode: Annotated[int, Meta(ge=0, le=0o777)] = 0o600
    users: tuple[str, ...] = ()
    """Who may talk to it besides root and the daemon's own user; names or numbers."""
    groups: tuple[str, ...] = ()
    clients: Annotated[int, Meta(ge=1, le=1024)] = 32


class RejectSection(Section, frozen=True):
    """Answers to packets that a REJECT rule refuses."""

    answers: bool = True
    rate: Rate = 1000
    """Answers a second at most."""
    burst: Rate = 1000
    host_rate: Rate = 1
    """ICMP errors a second to one host."""
    host_burst: Rate = 6
    mark: Annotated[int, Meta(ge=1, le=2**32 - 1)] = 0xFA57F3ED
    """The packet mark that answers carry, so that they are not queued themselves."""
    queue: Queue = 65535
    """The queue by which they are sent where CAP_NET_RAW is not to be had."""


class LogSection(Section, frozen=True):
    """The daemon's lines on standard error."""

    format: Literal["text", "json"] = "text"
    level: Level = "info"
    rate: Rate = 10
    """Lines a second of one kind."""
    burst: Annotated[float, Meta(ge=1, le=1e9)] = 50
    packets: bool = True
    """Whether packets that LOG, NFLOG and TRACE rules tell of are lines too."""
    packet_rate: Rate = 10
    """Such lines a second of one rule."""
    packet_burst: Annotated[float, Meta(ge=1, le=1e9)] = 50


class MetricsSection(Section, frozen=True):
    """Where Prometheus finds its metrics, as `127.0.0.1:9477`; empty: nowhere."""

    listen: str = ""


class Config(Section, frozen=True):
    """The whole configuration."""

    rules: RulesSection = RulesSection()
    conntrack: ConntrackSection = ConntrackSection()
    host: HostSection = HostSection()
    queue: QueueSection = QueueSection()
    steering: SteeringSection = SteeringSection()
    bypass: BypassSection = BypassSection()
    state: StateSection = StateSection()
    control: ControlSection = ControlSection()
    reject: RejectSection = RejectSection()
    log: LogSection = LogSection()
    metrics: MetricsSection = MetricsSection()

    def told(self) -> dict[str, Any]:
        """What an Engine is made with, its rules and sets apart, by its parameters' names."""
        return {
            "settings": self.conntrack.settings,
            "helpers": self.conntrack.helpers,
            "timeouts": {name: policy_of(section) for name, section in self.conntrack.timeouts.items()},
            **{name: getattr(self.host, name) for name in HostSection.__struct_fields__},
        }

    def plan(self) -> Plan:
        """The kernel's rules that it asks for."""
        return Plan(
            first=self.queue.first,
            last=self.queue.first + self.queue.count - 1,
            table=self.steering.table,
            hooks=self.steering.hooks,
            families=self.steering.families,
            fail_open=self.queue.fail_open,
            except_interfaces=self.steering.except_interfaces,
            answer_mark=self.reject.mark if self.reject.answers else 0,
            program=self.steering.iptables,
        )


def policy_of(section: TimeoutSection) -> TimeoutPolicy:
    """The policy that a section tells of. ValueError: there is none."""
    return TimeoutPolicy(section.protocol, section.seconds, section.family)


def read_config(path: str) -> Config:
    """The configuration in a file. ConfigError; OSError where it cannot be read."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: the text is not UTF-8") from None
    return parse_config(text, path)


def parse_config(text: str, name: str = "-") -> Config:
    """The configuration that a text tells of. ConfigError."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        if place is None:  # at the text's end
            reason = str(error).removesuffix(" (at end of document)")
            raise ConfigError(f"{name}:{text.count(chr(10)) + 1}: {reason}") from None
        raise ConfigError(f"{name}:{place[1]}:{place[2]}: {str(error)[: place.start()]}") from None
    except ValueError:  # Python reads no longer ones
        digits = re.search(r"[0-9_]{4000}", text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else 1
        raise ConfigError(f"{name}:{line}: a number of so many digits is none that is expected anywhere") from None
    except RecursionError:
        raise ConfigError(f"{name}:1: nested too deeply") from None
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        reason, key = _validation(error, tree)
        raise ConfigError(f"{name}:{line_of(text, key)}: {'.'.join(key)}: {reason}") from None
    check(config, text, name)
    return config


def check(config: Config, text: str = "", name: str = "-") -> None:
    """What no type says. ConfigError, its line found in `text`."""

    def fault(reason: str, *key: str) -> ConfigError:
        return ConfigError(f"{name}:{line_of(text, key)}: {'.'.join(key)}: {reason}")

    for setting, value in config.conntrack.settings.items():
        try:
            check_setting(setting, value)
        except SettingError as error:
            reason = str(error).removeprefix(f"{setting}: ")
            raise fault(reason, "conntrack", "settings", setting) from None
    for helper in config.conntrack.helpers:
        try:
            parse_spec(helper)
        except HelperError as error:
            raise fault(str(error), "conntrack", "helpers") from None
    for policy, section in config.conntrack.timeouts.items():
        try:
            policy_of(section)
        except ValueError as error:
            word = str(error).partition(":")[0]
            below = (word,) if word in TimeoutSection.__struct_fields__ else ("seconds", word)
            reason = str(error).removeprefix(f"{word}: ")
            raise fault(reason, "conntrack", "timeouts", policy, *below) from None
    for key in DECLARED:
        try:
            declare(**{DECLARED[key]: getattr(config.host, key)})
        except DeclarationError as error:
            raise fault(str(error), "host", key) from None
    if config.queue.first + config.queue.count > 65536:
        raise fault("the last queue would be above 65535", "queue", "count")
    if config.reject.answers and 0 <= config.reject.queue - config.queue.first < config.queue.count:
        raise fault("a queue that serves packets cannot send answers", "reject", "queue")
    if 0 < config.queue.copy_range < 68:
        raise fault("0 or 68 to 65535 bytes expected", "queue", "copy_range")
    if config.queue.driver == "netfilterqueue":
        for key, given in (("fail_open", config.queue.fail_open), ("copy_range", config.queue.copy_range)):
            if given:
                raise fault("driver netfilterqueue cannot; nfqueue can", "queue", key)
    if not sixteen_neighbours(config.bypass.mask):
        raise fault("16 neighbouring bits expected, such as 0xffff0000", "bypass", "mask")
    if config.bypass.map and not re.fullmatch(r"/[\w./+:@-]{1,200}", config.bypass.map):
        raise fault("an absolute path without blanks and quotes expected", "bypass", "map")
    if config.bypass.mode == "on":
        if config.queue.driver == "netfilterqueue":
            raise fault("driver netfilterqueue cannot; nfqueue can", "bypass", "mode")
        if not config.steering.install:
            raise fault("it needs the kernel's rules of steering.install", "bypass", "mode")
    if config.steering.install and not config.steering.hooks:
        raise fault(f"some of {', '.join(HOOKS)} expected", "steering", "hooks")
    if config.steering.install and not config.steering.families:
        raise fault("4, 6 or both expected", "steering", "families")
    if config.steering.table == "raw" and set(config.steering.hooks) - {"OUTPUT"}:
        raise fault("table raw has no chain INPUT or FORWARD", "steering", "table")
    for interface in config.steering.except_interfaces:
        if re.search(r'[\s/"\\]', interface, re.ASCII) or len(interface.encode()) > 15:
            raise fault(f"an interface name of up to 15 bytes expected, not {interface!r}", "steering",
                        "except_interfaces")  # fmt: skip
    if len(config.control.socket.encode()) > 107:
        raise fault("a path of up to 107 bytes expected", "control", "socket")
    if config.metrics.listen:
        try:
            listen_address(config.metrics.listen)
        except ValueError as error:
            raise fault(str(error), "metrics", "listen") from None
    if config.state.interval and not config.state.file:
        raise fault("there is no state.file to save to", "state", "interval")
    if config.rules.save_at_stop and not (config.rules.ipv4 or config.rules.ipv6):
        raise fault("there is no rules.ipv4 or rules.ipv6 to save to", "rules", "save_at_stop")


def sixteen_neighbours(mask: int) -> bool:
    """Whether a mask is one run of 16 bits."""
    return mask > 0 and mask // (mask & -mask) == 0xFFFF


def listen_address(text: str) -> tuple[str, int]:
    """HOST:PORT or [HOST]:PORT. ValueError."""
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:(\d{1,5})|([^:\[\]\s]+):(\d{1,5})", text, re.ASCII)
    port = int(found[2] or found[4]) if found else 0
    if found is None or not 0 < port < 65536:
        raise ValueError(f"HOST:PORT expected, such as 127.0.0.1:9477 or [::1]:9477, not {text!r}")
    return found[1] or found[3], port


_AT = re.compile(r"^(?P<reason>.*?)(?: - at `(?:key in )?(?P<path>\$.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.[^.\[]+|\[[^\]]*\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")


def _validation(error: msgspec.ValidationError, tree: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The reason and the key of msgspec's message."""
    found = _AT.match(str(error))
    assert found is not None
    key, kind = _named(tree, Config, _STEP.findall(found["path"] or "$"))
    unknown = _UNKNOWN.fullmatch(found["reason"])
    if unknown is None:
        return found["reason"][0].lower() + found["reason"][1:], key
    return f"no such key: one of {', '.join(kind.__struct_fields__)} expected", (*key, unknown[1])


def _named(value: Any, kind: Any, steps: list[str]) -> tuple[tuple[str, ...], Any]:
    """The key, and the type of what stands there, that lie so many steps of a path of msgspec's below a value: it does
    not say which of a table's own names it means, and below arrays nothing has a name."""
    if not steps:
        return (), kind
    step, *rest = steps
    if step == "[...]":
        inner = get_args(kind)[1] if get_origin(kind) is dict else None
        for name, one in value.items() if inner is not None else ():
            try:
                msgspec.convert(one, inner)
            except msgspec.ValidationError:
                key, found = _named(one, inner, rest)
                return (name, *key), found
    if step[0] == "[":
        return (), kind
    below = next(field.type for field in msgspec.structs.fields(kind) if field.name == step[1:])
    key, found = _named(value[step[1:]], below, rest)
    return (step[1:], *key), found


_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$", re.ASCII)
_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=", re.ASCII)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip(" \t").strip("\"'") for part in text.split("."))


def line_of(text: str, key: tuple[str, ...]) -> int:
    """The line, from 1, on which a key of valid TOML text is set; its table's line, or 1, where it is not."""
    table: tuple[str, ...] = ()
    best, depth = 1, 0
    for number, line in enumerate(text.split("\n"), 1):
        header = _HEADER.match(line)
        if header:
            table = _parts(header[1])
            here = table
        elif found := _KEY.match(line):
            here = table + _parts(found[1])
        else:
            continue
        same = 0
        while same < min(len(here), len(key)) and here[same] == key[same]:
            same += 1
        if same == len(here) and same > depth:
            best, depth = number, same
    return best


T = TypeVar("T", bound=Section)


def changed(section: T, **values: Any) -> T:
    """A section with some values replaced; None leaves one as it is."""
    return msgspec.structs.replace(section, **{name: value for name, value in values.items() if value is not None})
