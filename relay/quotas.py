"""How much each key may still ask in its period. Pure; owned by `engine`.

A quota of "100/hour" is a sum of 100 that refills evenly: who used it up waits for 36 s, not for an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.nkn.multi import Recent
from relay.rights import Quota, Rights
from wire.budget import Budget
from wire.errors import busy


@dataclass(slots=True)
class _Account:
    """One key's sums, made for these quotas."""

    quotas: tuple[Quota | None, Quota | None]
    requests: Budget | None
    tokens: Budget | None


class Quotas:
    """All keys that have quotas; the one that was quiet for longest is forgotten first."""

    def __init__(self) -> None:
        self._accounts: Recent[bytes, _Account] = Recent()

    def check(self, key: bytes, rights: Rights, now: float) -> None:
        """Whether another request may begin.

        Raises:
            PeerFault: "busy", with the scope that was hit and when it will be possible.
        """
        account = self._account(key, rights)
        for scope, quota, budget, needed in (
            ("requests", rights.requests, account.requests, 1.0 - 1e-9),
            ("tokens", rights.tokens, account.tokens, 1e-9),
        ):
            if quota is None or budget is None or budget.left(now) >= needed:
                continue
            wait_ms = 1 + round(1000 * budget.wait_s(now, needed))
            raise busy(f"the quota of {quota.words} {scope} of this key is used up", wait_ms, scope=scope)

    def begun(self, key: bytes, rights: Rights) -> None:
        """A request was admitted."""
        budget = self._account(key, rights).requests
        if budget is not None:
            budget.spend(1)

    def used(self, key: bytes, rights: Rights, tokens: int) -> None:
        """A request took so many tokens."""
        budget = self._account(key, rights).tokens
        if budget is not None:
            budget.spend(tokens)

    def _account(self, key: bytes, rights: Rights) -> _Account:
        quotas = (rights.requests, rights.tokens)
        account = self._accounts.get(key)
        if account is None or account.quotas != quotas:
            account = _Account(quotas, _budget(rights.requests), _budget(rights.tokens))
        if quotas != (None, None):
            self._accounts.remember(key, account)
        return account


def _budget(quota: Quota | None) -> Budget | None:
    return None if quota is None else Budget(quota.count, quota.count / quota.seconds)
