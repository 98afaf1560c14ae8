"""Who may do what, as the settings say."""

from __future__ import annotations

from notifier.auth.rules import Access, Rule, Rules
from notifier.config.namespaces import NamespaceSettings
from notifier.config.settings import Settings

# A user's own channels, user:42 and user:42:…
_USER_NAMESPACE = "user"
_USER_RULES = Rules(
    publish=Rule.GRANTED, subscribe=Rule.OWNER, history=Rule.OWNER, presence=Rule.OWNER
)


def access_of(settings: Settings, *, authenticates: bool) -> Access:
    """The rules of the node and its namespaces.

    What is not set is open to anybody where there are neither keys nor tokens, else to those who
    were granted it; and then a user's own channels are the user's, unless their namespace is set
    otherwise.

    :param authenticates: there is a file of keys, or something to verify tokens with.
    """
    unset = Rules.all(Rule.GRANTED if authenticates else Rule.PUBLIC)
    default = _rules(settings, unset)
    named = {name: _rules(own, default) for name, own in settings.namespaces.items()}
    if authenticates:
        own = settings.namespaces.get(_USER_NAMESPACE, NamespaceSettings())
        named[_USER_NAMESPACE] = _rules(own, _USER_RULES)
    return Access(default, named, authenticates=authenticates)


def _rules(settings: Settings | NamespaceSettings, unset: Rules) -> Rules:
    def rule(who: str | None, otherwise: Rule) -> Rule:
        return otherwise if who in (None, "auto") else Rule(who)

    return Rules(
        publish=rule(settings.who_may_publish, unset.publish),
        subscribe=rule(settings.who_may_subscribe, unset.subscribe),
        history=rule(settings.who_may_read_history, unset.history),
        presence=rule(settings.who_may_see_presence, unset.presence),
    )
