"""What of a recorded case is one client's: its connections, and how they are played to ours.

Pure data; a table of them is `roles`, played by `role`.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A role of a case.

    Attributes:
        conns: its connections in the recording, in their order.
        addr: its address; of a MultiClient without a part's prefix.
        compared: whether the recorded client did what a good client does, and ours must do the same. Else the
            node's side alone is played, and what a recorded client did to vanish is done to ours.
        silent: ids of sends that want no answer.
        skips: notes, ids, ops or times of what is left out: frames that no good client sends, and what a node
            said only because of them.
        closes: whether the application closes its client in the end.
        registers: whether each connection is registered before its first event.
        returns: whether the client has to come again at the end.
        parts, original: of a MultiClient; 0 is a Client.
        options: of our client.
    """

    conns: tuple[str, ...]
    addr: str
    compared: bool = False
    silent: tuple[str, ...] = ()
    skips: tuple[str | float, ...] = ()
    closes: bool = False
    registers: bool = False
    returns: bool = False
    parts: int = 0
    original: bool = False
    options: dict = field(default_factory=dict)

    def leaves_out(self, event):
        """Whether an event is none of this role's."""
        ids = {one.id for one in event.said.contents} if event.said else set()
        return bool({event.rest.get("note"), event.op, event.t, *ids} & set(self.skips))
