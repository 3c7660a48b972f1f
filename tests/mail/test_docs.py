"""docs/emails.md says what there is: every key, every fact, and examples that load."""

import re
from pathlib import Path
from typing import Any

from builders import build_capture
from cases import check_each
from relay.actions.mail import STEP_SECONDS
from relay.actions.mail.rendering import _template_context
from relay.actions.mail.sandbox import TIME_LIMIT
from relay.actions.mail.smtp import LAST_STEP
from relay.config.build import Overrides, load
from relay.config.tables import EmailTable, SmtpTable
from relay.model.event import CapturedEvent, EventOutcome, EventRow, Verdict, Verification

DOCS = (Path(__file__).parents[2] / "docs/emails.md").read_text()
README = (Path(__file__).parents[2] / "README.md").read_text()


def test_its_example_is_valid(tmp_path):
    found = "\n".join(re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL))
    (tmp_path / "emails").mkdir()
    (tmp_path / "emails/welcome.html").write_text("<p>{{ payload.user.name }}</p>")
    path = tmp_path / "relay.toml"
    path.write_text(found)
    config = load(path, Overrides(), {"SMTP_USERNAME": "relay", "SMTP_PASSWORD": "word"})
    assert config.smtp.allow_recipients == ("*@example.com",)
    assert [notice for notice in config.notices if notice.startswith(("smtp", "emails"))] == []


@check_each("key", [*EmailTable.model_fields, *SmtpTable.model_fields])
def test_every_key_is_told(key):
    assert re.search(rf"`{key}`|^{key} +=|smtp\.{key} ", DOCS, re.MULTILINE)


def test_every_fact_is_told():
    capture = build_capture("app", path="/", body=b"", received_at=None)
    facts: dict[str, Any] = dict.fromkeys(EventRow.__dataclass_fields__, "")
    facts |= {"verdict": Verdict.VERIFIED, "outcome": EventOutcome.ACCEPTED, "received_at": Moment()}
    row = EventRow(**facts)
    event = CapturedEvent(row=row, capture=capture, verification=Verification(verdict=Verdict.VERIFIED))
    for name in _template_context(event):
        assert f"`event.{name}`" in DOCS


class Moment:
    def isoformat(self):
        return ""


def test_its_figures_are_the_ones_in_the_code():
    assert TIME_LIMIT == 2.0
    assert "A template may take two seconds" in DOCS
    assert STEP_SECONDS * LAST_STEP == 60
    assert "a minute passed" in DOCS
    assert EmailTable.model_fields["per_hour"].default == 30


def test_the_readme_leads_there():
    assert "(docs/emails.md)" in README
