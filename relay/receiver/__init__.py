"""Webhooks inside an app of the user's own: verify, identify, admit and handle, with no relay around it.

`Receiver` is made from values and answers one request at a time; `relay.frameworks` makes one from
relay.toml and gives it to Flask, Django, FastAPI or Starlette.
"""

from relay.model.admission import Claim
from relay.receiver.receive import HandlerRunner, Receiver, ReceiverRules
from relay.receiver.request import Incoming
from relay.receiver.threads import KeyStore

__all__ = ["Claim", "HandlerRunner", "Incoming", "KeyStore", "Receiver", "ReceiverRules"]
