"""What each template is given: one frozen type a page or part, the template's name beside it."""

from relay.web.contexts.asking import Ask, StandingPage
from relay.web.contexts.compare import CompareForm, ComparePage, Pair, PairGroup
from relay.web.contexts.deliveries import DeliveriesPage, DeliveryRow
from relay.web.contexts.dialogs import (
    Changed,
    DialogPage,
    EmailForm,
    Field,
    Preview,
    ReplayForm,
    Sent,
)
from relay.web.contexts.events import (
    DeliveriesTab,
    Detail,
    EventHead,
    EventsPage,
    FirstPage,
    Found,
    HeadersTab,
    Link,
    MessageLine,
    PayloadTab,
    ProviderPick,
    RouteLine,
    RoutingTab,
    Tab,
    VerificationTab,
)
from relay.web.contexts.find import FindForm, Hit
from relay.web.contexts.messages import MessageDetail, MessagesPage
from relay.web.contexts.pages import (
    ErrorPage,
    SourceLine,
    SourcesPage,
    TargetLine,
    TargetsPage,
    TriggerPage,
)
from relay.web.contexts.replays import (
    BatchDialog,
    BatchesPage,
    BatchPage,
    BulkForm,
)

__all__ = [
    "Ask",
    "BatchDialog",
    "BatchPage",
    "BatchesPage",
    "BulkForm",
    "Changed",
    "CompareForm",
    "ComparePage",
    "DeliveriesPage",
    "DeliveriesTab",
    "DeliveryRow",
    "Detail",
    "DialogPage",
    "EmailForm",
    "ErrorPage",
    "EventHead",
    "EventsPage",
    "Field",
    "FindForm",
    "FirstPage",
    "Found",
    "HeadersTab",
    "Hit",
    "Link",
    "MessageDetail",
    "MessageLine",
    "MessagesPage",
    "Pair",
    "PairGroup",
    "PayloadTab",
    "Preview",
    "ProviderPick",
    "ReplayForm",
    "RouteLine",
    "RoutingTab",
    "Sent",
    "SourceLine",
    "SourcesPage",
    "StandingPage",
    "Tab",
    "TargetLine",
    "TargetsPage",
    "TriggerPage",
    "VerificationTab",
]
