"""Links between the pages lead somewhere."""

from __future__ import annotations

import pytest

from tests.docs.markdown import CHECKOUT, DOCS, anchors, links

PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CHANGELOG.md",
    CHECKOUT / "SECURITY.md",
    CHECKOUT / "bench/README.md",
    CHECKOUT / "examples/README.md",
    *sorted(DOCS.rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(CHECKOUT)) for page in PAGES])
def test_links_lead_somewhere(page: object) -> None:
    path = next(known for known in PAGES if known == page)
    for link in links(path.read_text("utf-8")):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: no such file"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text("utf-8")), f"{link}: no such heading"
