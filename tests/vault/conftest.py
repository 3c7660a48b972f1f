import pytest

from builders import QUICK_KDF
from relay.model.secret import Secret

PASSWORD = "four words no sentence"


@pytest.fixture
def password():
    return Secret("the password", PASSWORD)


@pytest.fixture
def quick():
    return QUICK_KDF
