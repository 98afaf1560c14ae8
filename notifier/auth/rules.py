"""Who may do what, and where.

A grant always suffices. Who has none may do what the rule of the channel's namespace lets
everybody of a kind do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from notifier.auth.identity import Identity
from notifier.auth.scopes import OF_CHANNELS, Scope
from notifier.errors import Forbidden, Unauthenticated


class Rule(StrEnum):
    """Who may, without a grant."""

    PUBLIC = "public"  # anybody
    AUTHENTICATED = "authenticated"  # whoever has a token; a key does only what it was granted
    OWNER = "owner"  # the user whose name is the second part of the channel's, as in user:42:inbox
    GRANTED = "granted"  # nobody


@dataclass(frozen=True, slots=True)
class Rules:
    """A namespace's rule for each scope that has one."""

    publish: Rule
    subscribe: Rule
    history: Rule
    presence: Rule

    @classmethod
    def all(cls, rule: Rule) -> Rules:
        return cls(publish=rule, subscribe=rule, history=rule, presence=rule)

    def of(self, scope: Scope) -> Rule:
        """The scope's rule; what is about the node as a whole is for those with a grant."""
        match scope:
            case Scope.PUBLISH:
                return self.publish
            case Scope.SUBSCRIBE:
                return self.subscribe
            case Scope.HISTORY:
                return self.history
            case Scope.PRESENCE:
                return self.presence
            case Scope.METRICS | Scope.ADMIN:
                return Rule.GRANTED


class Access:
    """Whether an identity may do something.

    :param default: the rules outside of the named namespaces.
    :param authenticates: there are keys or tokens to be had. Where there are none, nobody could be
        granted anything: metrics and administration are then for whoever reaches the node.
    """

    __slots__ = ("_default", "_everywhere", "_named", "authenticates", "open")

    def __init__(
        self, default: Rules, named: Mapping[str, Rules], *, authenticates: bool = True
    ) -> None:
        self._default = default
        self._named = dict(named)
        self.authenticates = authenticates
        everything = [default, *self._named.values()]
        # What a pattern that may reach every namespace has to satisfy.
        self._everywhere = {scope: {rules.of(scope) for rules in everything} for scope in Scope}
        # Everybody may do everything, so nothing need be looked up.
        self.open = not authenticates and all(r == Rules.all(Rule.PUBLIC) for r in everything)

    def check(self, identity: Identity, scope: Scope, channel: str) -> None:
        """See that it may do that on a channel, or on all that a pattern may ever match.

        :param channel: a name or a pattern, valid.
        :raises Unauthenticated: nobody in particular may not.
        :raises Forbidden: this one may not.
        """
        if self.open or identity.is_granted(scope, channel):
            return
        if all(_lets(rule, identity, channel) for rule in self._rules(scope, channel)):
            return
        raise _refusal(identity, scope, scope.deed_on(channel), channel=channel)

    def check_somewhere(self, identity: Identity, scope: Scope) -> None:
        """See that there is a channel on which nobody in particular may do that, if it is nobody.

        Of whoever shows a key or a token it depends on the channel, which its refusal then names.

        :raises Unauthenticated:
        """
        if identity.kind == "anonymous" and not self.asks_nobody(scope):
            raise _refusal(identity, scope, scope.deed)

    def asks_nobody(self, scope: Scope) -> bool:
        """Whether there is anything that nobody in particular may do with the scope."""
        if scope in (Scope.ADMIN, Scope.METRICS):
            return not self.authenticates
        return Rule.PUBLIC in self._everywhere[scope]

    def check_scope(self, identity: Identity, scope: Scope) -> None:
        """See that it may do what is about the node as a whole.

        :raises Unauthenticated: nobody in particular may not.
        :raises Forbidden: this one may not.
        """
        if self.authenticates and scope not in identity.grants:
            raise _refusal(identity, scope, scope.deed)

    def _rules(self, scope: Scope, channel: str) -> Iterator[Rule]:
        namespace, colon, _ = channel.partition(":")
        if "*" in namespace:
            yield from self._everywhere[scope]
        else:
            rules = self._named.get(namespace, self._default) if colon else self._default
            yield rules.of(scope)


OPEN = Access(Rules.all(Rule.PUBLIC), {}, authenticates=False)


def _lets(rule: Rule, identity: Identity, channel: str) -> bool:
    match rule:
        case Rule.PUBLIC:
            return True
        case Rule.AUTHENTICATED:
            return identity.kind == "token"
        case Rule.OWNER:
            # A * in either of the first two parts may stand for other users.
            namespace, _, rest = channel.partition(":")
            owner = rest.partition(":")[0]
            return bool(owner) and owner == identity.user and "*" not in namespace + owner
        case Rule.GRANTED:
            return False


def _refusal(
    identity: Identity, scope: Scope, deed: str, **facts: str
) -> Unauthenticated | Forbidden:
    if identity.kind == "anonymous":
        # No token grants what is about the node as a whole.
        what = "a key or a token" if scope in OF_CHANNELS else "a key"
        return Unauthenticated(
            f'This needs {what} that may {deed}. Send it as the header "Authorization: Bearer …".',
            scope=str(scope),
            **facts,
        )
    return Forbidden(f"This {identity.kind} may not {deed}.", scope=str(scope), **facts)
