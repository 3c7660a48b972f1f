import pytest

from relay.model.secret import Secret
from relay.vault.file_format import Argon2

PASSWORD = "four words no sentence"
QUICK = Argon2(salt=bytes(16), t=1, m=19 * 1024, p=1)  # the least that is believed: 0.02 s


@pytest.fixture
def password():
    return Secret("the password", PASSWORD)


@pytest.fixture
def quick():
    return QUICK
