"""Interfaces that appear while a ruleset is replaced."""

from __future__ import annotations

import threading
import time

from tests.traffic import packets as p

import fastfw

RULES = "*filter\n-A FORWARD -i wlan+ -j DROP\n-A FORWARD -j ACCEPT\nCOMMIT\n"


def test_an_interface_that_comes_while_rules_wait_for_the_lock_is_known_to_them() -> None:
    """An interface first seen after a new ruleset was told the names, and before it is in force, is told to it too."""
    engine = fastfw.Engine(rules4=fastfw.Ruleset.parse(RULES))
    packet = p.udp_packet(p.address("10.1.0.1"), p.address("10.2.0.1"), 1, 2)
    change = threading.Thread(target=engine.replace, kwargs={"rules4": fastfw.Ruleset.parse(RULES)})

    def meanwhile() -> None:
        change.start()
        time.sleep(0.3)
        assert change.is_alive()
        assert engine.decide(packet, iif="wlan0", oif="eth1").verdict == "DROP"

    engine._held(meanwhile)
    change.join(10)
    assert not change.is_alive()
    assert engine.decide(packet, iif="wlan0", oif="eth1").verdict == "DROP"
