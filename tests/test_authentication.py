from __future__ import annotations

from notifier.auth.keyset import Keyset
from notifier.authentication import Authentication, Look
from notifier.config import Settings
from tests.auth.signing import keys_of
from tests.auth.test_verified import Issuer

URL = "https://id.example.org/jwks.json"
CHANGED = [Look("token", URL, "fetch", changed=True)]


def test_keys_that_were_fetched_are_seen_to_be_others_also_after_a_time_without_any() -> None:
    none, old, new = Keyset(), keys_of("ES256"), keys_of("RS256")
    issuer = Issuer(none)
    authentication = Authentication(Settings(token_jwks_url=URL), issuer)
    seen = []
    for fetched in (none, old, old, new, none, new, none, old):
        issuer.fetched = fetched
        seen.append(authentication.look())
    assert seen == [[], [], [], CHANGED, [], [], [], CHANGED]
