"""The reference pages are what the code says: `make docs` writes them anew."""

from __future__ import annotations

from pathlib import Path

from notifier.cli.reference import (
    README_TABLE,
    cli_page,
    settings_page,
    settings_table,
    with_table,
    write_pages,
)

CHECKOUT = Path(__file__).parent.parent.parent


def test_settings_page_agrees_with_the_code() -> None:
    page = (CHECKOUT / "docs/reference/settings.md").read_text("utf-8")
    assert page == settings_page(), "run `make docs`"


def test_cli_page_agrees_with_the_code() -> None:
    page = (CHECKOUT / "docs/reference/cli.md").read_text("utf-8")
    assert page == cli_page(), "run `make docs`"


def test_table_of_the_readme_agrees_with_the_code() -> None:
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    assert README_TABLE.search(readme), "README.md lacks the markers of its settings table"
    assert readme == with_table(readme), "run `make docs`"


def test_pages_are_written_where_they_belong(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- settings -->\nold\n<!-- /settings -->\nafter\n")
    write_pages(tmp_path)
    assert readme.read_text("utf-8") == (
        f"before\n<!-- settings -->\n{settings_table()}<!-- /settings -->\nafter\n"
    )
    assert (tmp_path / "docs/reference/settings.md").read_text("utf-8") == settings_page()
    assert (tmp_path / "docs/reference/cli.md").read_text("utf-8") == cli_page()
