"""What helpers share whose protocol asks all of a network and is answered by any of it."""

from __future__ import annotations

from typing import ClassVar

from fastfw.helpers.base import ORIGINAL, UDP, Flow, Helper, Verdict


class BroadcastHelper(Helper):
    """Every host of the network this host asks by broadcast may answer, from the service's own port."""

    families = (4,)
    limit = 1
    directions = (ORIGINAL,)
    service_port: ClassVar[int]
    """The port answers come from."""

    def on_payload(self, payload: memoryview, flow: Flow) -> Verdict | None:
        mask = flow.broadcast_mask
        if mask is None or flow.direction != ORIGINAL:
            return None
        flow.expect(
            protocol=UDP,
            source=flow.destination,
            source_mask=mask,
            source_port=self.service_port,
            destination=flow.source,
            port=flow.source_port,
            permanent=True,
        )
        flow.refresh(self.timeout)
        return None
