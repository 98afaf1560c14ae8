import pytest

for name in ("account", "fleet", "listeners", "load", "producers"):
    pytest.register_assert_rewrite(f"tests.many_nodes.{name}")
