import pytest

pytest.register_assert_rewrite("tests.promises.scenarios", "tests.promises.nemeses")
