"""`answer = {…}` of a source, with what its provider expects."""

from dataclasses import replace

from relay.config.file import AnswerTable
from relay.model.answer import Answer

_TEXT = "text/plain; charset=utf-8"
_XML = "text/xml; charset=utf-8"


def read_answer(table: AnswerTable, usual: Answer) -> Answer:
    """Return the answer that a table asks for; `usual` is the one of the provider."""
    answer = replace(usual, mode=table.mode, status=table.status, timeout=table.timeout)
    if table.body is not None:
        answer = replace(answer, body=table.body, content_type=_type_of(table.body), form_body=None)
    elif not 200 <= table.status < 300:
        # What a provider must be answered with says that all is well.
        answer = replace(answer, body=None, content_type="application/json", form_body=None)
    if table.content_type is not None:
        answer = replace(answer, content_type=table.content_type, form_body=None)
    return answer


def _type_of(body: str) -> str:
    start = body.lstrip()
    if start.startswith(("{", "[", '"')):
        return "application/json"
    return _XML if start.startswith(("<?xml", "<Response")) else _TEXT
