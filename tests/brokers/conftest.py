import pytest

pytest.register_assert_rewrite("tests.brokers.contract", "tests.brokers.fleet_contract")
