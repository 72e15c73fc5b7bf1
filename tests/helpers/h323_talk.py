"""What is said over RAS, Q.931 and H.245: right, odd, mutated and cut; encoded by asn1tools."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from .kernel import Ends, Say
from .small_talk import mangle

OID = bytes.fromhex("0008914a0004")  # 0.0.8.2250.0.4


@cache
def schemas() -> tuple[Any, Any]:
    """The reader's schemas compiled by asn1tools, with the two BOOLEANs that every version says and it steps over."""
    import asn1tools

    from fastfw.helpers.h323_schema import H225, H245

    life = "timeToLive Seconds OPTIONAL"
    full = H225.replace(life, life + ", s3 NULL OPTIONAL, s4 NULL OPTIONAL, s5 NULL OPTIONAL, skip6 BOOLEAN OPTIONAL")
    full = full.replace("skip2 NULL OPTIONAL,\n  h245Control", "skip2 BOOLEAN OPTIONAL,\n  h245Control")
    return tuple(asn1tools.compile_string(known(text), "per") for text in (full, H245))  # type: ignore[return-value]


def known(text: str) -> str:
    """A schema in words of asn1tools': what octets hold is put into them by hand."""
    text = text.replace("OBJECT IDENTIFIER", "OCTET STRING")
    return text.replace("CONTAINED ControlMessage", "OCTET STRING").replace("CONTAINED Open", "OCTET STRING")


def host(chance: random.Random, who: Ends, speaker: int) -> bytes:
    own, other = (who.client, who.server)[:: -1 if speaker else 1]
    return chance.choices([own, other, bytes(len(own)), own[:-1] + b"\x63"], [12, 2, 1, 1])[0]


def port(chance: random.Random) -> int:
    return chance.choice([0, 1, 80, 65535, 65534, *(chance.randrange(1024, 65536) for _ in range(20))])


def h225_address(chance: random.Random, who: Ends, speaker: int) -> tuple[str, Any]:
    kind = "ipAddress" if len(who.client) == 4 else "ip6Address"
    if chance.random() < 0.05:
        return ("netBios", b"0123456789abcdef")
    if chance.random() < 0.05:
        return ("nsap", b"xyz")
    return (kind, {"ip": host(chance, who, speaker), "port": port(chance)})


def h245_address(chance: random.Random, who: Ends, speaker: int) -> tuple[str, Any]:
    kind = "iPAddress" if len(who.client) == 4 else "iP6Address"
    at = (kind, {"network": host(chance, who, speaker), "tsapIdentifier": port(chance)})
    return ("multicastAddress" if chance.random() < 0.05 else "unicastAddress", at)


def some(chance: random.Random, share: float, **fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if chance.random() < share}


def endpoint(chance: random.Random) -> dict[str, Any]:
    vendor = {
        "vendor": {"country": 9, "extension": 0, "maker": 18},
        **some(chance, 0.5, productId=b"phone", versionId=b"1"),
    }
    made = some(
        chance,
        0.3,
        vendor=vendor,
        gatekeeper={},
        mcu={},
        terminal={},
        gateway={"protocol": [("h323", {}), ("voice", {})]},
    )
    return {**made, "mc": False, "undefinedNode": chance.random() < 0.5}


def aliases(chance: random.Random) -> list[tuple[str, Any]]:
    return [
        chance.choice([("dialledDigits", "12#4"), ("h323-ID", [*b"alice"]), ("dialledDigits", "1" * 30)])
        for _ in range(chance.randrange(1, 4))
    ]


def media(chance: random.Random, who: Ends, speaker: int) -> tuple[str, Any]:
    fields = some(
        chance,
        0.6,
        mediaChannel=h245_address(chance, who, speaker),
        mediaControlChannel=h245_address(chance, who, speaker),
        associatedSessionID=3,
        mediaGuaranteedDelivery=True,
    )
    return ("h2250", {"sessionID": chance.randrange(256), **fields})


def data_type(chance: random.Random) -> tuple[str, Any]:
    return chance.choice([
        ("audioData", ("g711Alaw64k", 20)), ("audioData", ("g7231", {"frames": 4, "silenceSuppression": True})),
        ("audioData", ("g729", 2)), ("nullData", None),
        ("videoData", ("h261", {"qcifMPI": 1, "b1": True, "maxBitRate": 1000, "b2": False})),
        ("videoData", ("h263", {"cifMPI": 2, "maxBitRate": 100000, **{f"b{n}": n % 2 > 0 for n in range(1, 6)}})),
        ("data", {"application": ("t120", ("transparent", None)), "maxBitRate": 640}),
        *[("data", {"application": ("t120", ("separateLANStack", None)), "maxBitRate": 640})] * 3,
        ("nonStandard", {"identifier": ("object", b"*\3"), "data": b"abc"}),
    ])  # fmt: skip


def stack(chance: random.Random, who: Ends, speaker: int) -> dict[str, Any]:
    where = chance.choice([("localAreaAddress", h245_address(chance, who, speaker)), ("e164Address", "12345")])
    return {
        **some(chance, 0.5, distribution=("unicast", None), externalReference=b"x"),
        "networkAddress": where,
        "associateConference": False,
    }


def opened(chance: random.Random, who: Ends, speaker: int) -> dict[str, Any]:
    forward = {"dataType": data_type(chance), "multiplex": media(chance, who, speaker)}
    reverse = {"dataType": data_type(chance), **some(chance, 0.8, multiplex=media(chance, who, speaker))}
    return {
        "forwardLogicalChannelNumber": chance.randrange(1, 65536),
        "forward": {**forward, **some(chance, 0.3, portNumber=7)},
        **some(chance, 0.4, reverse=reverse),
        **some(chance, 0.3, separateStack=stack(chance, who, speaker)),
    }


def acknowledged(chance: random.Random, who: Ends, speaker: int) -> dict[str, Any]:
    ack = some(
        chance,
        0.7,
        sessionID=1,
        mediaChannel=h245_address(chance, who, speaker),
        mediaControlChannel=h245_address(chance, who, speaker),
    )
    reverse = {
        "reverseLogicalChannelNumber": 3,
        **some(chance, 0.6, portNumber=9, multiplex=media(chance, who, speaker)),
    }
    return {
        "forwardLogicalChannelNumber": 1,
        **some(
            chance, 0.5, reverse=reverse, separateStack=stack(chance, who, speaker), forwardMultiplexAck=("h2250", ack)
        ),
    }


def control(chance: random.Random, who: Ends, speaker: int) -> bytes:
    said: Any = chance.choice([
        ("request", ("openLogicalChannel", opened(chance, who, speaker))),
        ("response", ("openLogicalChannelAck", acknowledged(chance, who, speaker))),
        ("request", ("q2", None)), ("response", ("p3", None)), ("command", None),
    ])  # fmt: skip
    return bytes(schemas()[1].encode("ControlMessage", said))


def call(chance: random.Random, who: Ends, speaker: int) -> bytes:
    """A Q.931 message with its H.225.0 one inside."""
    starts = [bytes(schemas()[1].encode("Open", opened(chance, who, speaker))) for _ in range(chance.randrange(4))]
    if chance.random() < 0.02:
        starts *= 20
    control_at = h225_address(chance, who, speaker)
    fast = {"fastStart": starts} if starts else {}
    conference = bytes(range(16))
    kind = chance.choice(
        [
            "setup",
            "callProceeding",
            "connect",
            "alerting",
            "facility",
            "progress",
            "information",
            "releaseComplete",
            "empty",
        ]
    )
    fields: Any
    if kind == "setup":
        fields = {
            "protocolIdentifier": OID, "sourceInfo": endpoint(chance), "activeMC": False, "conferenceID": conference,
            "conferenceGoal": ("create", None), "callType": ("pointToPoint", None), **fast,
            **some(
                chance, 0.5, h245Address=control_at, sourceAddress=aliases(chance), destinationAddress=aliases(chance),
                destCallSignalAddress=h225_address(chance, who, 1 - speaker), destExtraCRV=[1, 2],
            ),
        }  # fmt: skip
    elif kind in ("callProceeding", "alerting"):
        fields = {
            "protocolIdentifier": OID,
            "destinationInfo": endpoint(chance),
            **fast,
            **some(chance, 0.6, h245Address=control_at),
        }
    elif kind == "connect":
        fields = {
            "protocolIdentifier": OID, "destinationInfo": endpoint(chance), "conferenceID": conference, **fast,
            **some(chance, 0.6, h245Address=control_at),
        }  # fmt: skip
    elif kind == "facility":
        reason = chance.choice(["routeCallToGatekeeper", "callForwarded", "undefinedReason"])
        fields = {
            "protocolIdentifier": OID, "reason": (reason, None), **fast,
            **some(
                chance, 0.6, alternativeAddress=h225_address(chance, who, speaker), h245Address=control_at,
                conferenceID=conference, alternativeAliasAddress=aliases(chance),
            ),
        }  # fmt: skip
    elif kind == "progress":
        fields = {
            "protocolIdentifier": OID, "destinationInfo": endpoint(chance), "callIdentifier": {"guid": conference},
            **fast,
            **some(chance, 0.6, h245Address=control_at, h245SecurityMode=("noSecurity", None)),
        }  # fmt: skip
    elif kind == "releaseComplete":
        fields = {"protocolIdentifier": OID, **some(chance, 0.5, reason=("r3", None))}
    else:
        fields = None if kind == "empty" else {"protocolIdentifier": OID}
    tunnelled = [control(chance, who, speaker) for _ in range(chance.randrange(1, 7))]
    pdu = {"body": (kind, fields), "skip2": True, **some(chance, 0.4, h245Control=tunnelled)}
    inside = b"\5" + bytes(schemas()[0].encode("UserInformation", {"pdu": pdu}))
    element = b"\x7e" + len(inside).to_bytes(2, "big") + inside
    before = chance.choice([b"", b"\4\3\x80\x90\xa3", b"\x28\5alice", b"\4\1"])
    return b"\x08\x02\x12\x34\x05" + before + element


def tpkt(text: bytes) -> bytes:
    return b"\3\0" + (len(text) + 4).to_bytes(2, "big") + text


def q931(chance: random.Random, who: Ends, odd: bool = True) -> list[Say]:
    talk = []
    for _ in range(chance.randrange(1, 4)):
        speaker = int(chance.random() < 0.4)
        said = b"".join(
            tpkt(mangled(chance, call(chance, who, speaker), odd)) for _ in range(chance.choice([1, 1, 1, 2]))
        )
        if odd and chance.random() < 0.2:
            said = mangle(chance, said, b"\0\1\3\x7f\x80\xff")
        talk.append(Say(speaker, said))
        if chance.random() < 0.1:  # the header in a segment of its own
            talk[-1:] = [Say(speaker, said[:4]), Say(speaker, said[4:] or b"x")]
    return talk


def mangled(chance: random.Random, said: bytes, odd: bool) -> bytes:
    return mangle(chance, said, b"\0\1\3\x40\x7f\x80\xff") if odd and chance.random() < 0.3 else said


def confirmation(who: Ends, seconds: int) -> bytes:
    """A registration's confirmation, written out, that lets calls come to the server (of IPv4) and lasts so many
    seconds, up to 2**32; as much follows as a reader of large numbers wants to be there."""
    size = 1 if seconds <= 256 else 2 if seconds <= 65_536 else 3 if seconds <= 1 << 24 else 4
    lasts = f"{size + 1:02x}{(size - 1) << 6:02x}{seconds - 1:0{2 * size}x}"
    return bytes.fromhex(f"12000001060008914a00040100{who.server.hex()}138c02006d00650c88{lasts}0180") + bytes(8)


def ras(chance: random.Random, who: Ends, odd: bool = True) -> list[Say]:
    talk = []
    for _ in range(chance.randrange(1, 5)):
        speaker = int(bool(talk) and chance.random() < 0.4)
        at, more = (
            h225_address(chance, who, speaker),
            [h225_address(chance, who, speaker) for _ in range(chance.choice([0, 1, 1, 2, 12]))],
        )
        vendor = {"vendor": {"country": 9, "extension": 0, "maker": 18}}
        lasts = {**some(chance, 0.5, timeToLive=chance.choice([1000, 2000, 5000])), "skip6": True}
        messages: list[tuple[str, Any]] = [
            ("gatekeeperConfirm", {"requestSeqNum": 1, "protocolIdentifier": OID, "rasAddress": at,
                **some(chance, 0.3, gatekeeperIdentifier=[*b"gk"])}),
            ("registrationRequest", {
                "requestSeqNum": 2, "protocolIdentifier": OID, "discoveryComplete": True, "callSignalAddress": more,
                "rasAddress": [at], "terminalType": endpoint(chance), "endpointVendor": vendor, **lasts,
                **some(chance, 0.4, terminalAlias=aliases(chance), gatekeeperIdentifier=[*b"gk"])}),
            ("registrationConfirm", {
                "requestSeqNum": 2, "protocolIdentifier": OID, "callSignalAddress": more,
                "endpointIdentifier": [*b"me"], **lasts,
                **some(chance, 0.4, terminalAlias=aliases(chance), gatekeeperIdentifier=[*b"gk"])}),
            ("unregistrationRequest", {"requestSeqNum": 5, "callSignalAddress": [at, *more]}),
            ("admissionConfirm", {
                "requestSeqNum": 3, "bandWidth": 100, "callModel": ("direct", None), "destCallSignalAddress": at}),
            ("locationConfirm", {"requestSeqNum": 4, "callSignalAddress": at, "rasAddress": at}),
            ("admissionRequest", None),
        ]  # fmt: skip
        kind = chance.choices(messages, [3, 6, 4, 1, 3, 3, 1])[0]
        text = bytes(schemas()[0].encode("RasMessage", kind))
        talk.append(Say(speaker, mangled(chance, text + chance.choice([b"", bytes(4)]), odd)))
    return talk
