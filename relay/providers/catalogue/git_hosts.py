"""Code hosts: GitHub, Gitea, Forgejo, Bitbucket and GitLab."""

from relay.model.event import Extractor
from relay.providers.catalogue.standard_webhooks import standard_hmac
from relay.providers.derived_extractors import body_digest, short_id, strip_prefix
from relay.providers.extractors import add_prefix, body, first_of, header, join, join_key, summarize
from relay.providers.provider import MINUTE, OtherCredential, Provider, Schedule
from relay.providers.schemes.encoding import KeyFormat, Prefix
from relay.providers.schemes.locations import InHeader
from relay.providers.schemes.shared_secret import EchoHeader, SharedToken, header_hmac


def _format_subject(field: str, number: str) -> Extractor:
    return join(" ", add_prefix("#", body(field, number)), body(field, "title"))


# Gitea and Forgejo shaped their bodies after GitHub's, so one summary serves all three.
_GIT_SUMMARY = summarize(
    "repository.name",
    first_of(
        _format_subject("pull_request", "number"),
        _format_subject("issue", "number"),
        "release.tag_name",
        summarize("workflow_run.name", "workflow_run.conclusion"),
        "check_run.name",
        strip_prefix("ref", "refs/heads/", "refs/tags/"),
        "zen",
    ),
)

GITHUB = Provider(
    name="github",
    title="GitHub",
    docs="https://docs.github.com/en/webhooks/using-webhooks/creating-webhooks",
    steps="""Open Settings, Webhooks of the repository or organisation and add a webhook.
    Paste {url} as the payload URL and choose application/json.
    Enter a secret of your own and set {secret} to the same.""",
    answer="2xx within 10 s; never retried, redelivered by hand for 3 days",
    schedule=Schedule(
        limit=10.0,
        then="it is redelivered by hand or through the API, for 3 days",
        source="https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries",
    ),
    other_credential=OtherCredential(
        ("ghp_", "gho_", "ghs_", "github_pat_"), "an access token", "the webhook's own secret"
    ),
    recognise=("X-GitHub-Event", "X-GitHub-Delivery"),
    # Octokit's webhooks-methods 6.0.0 and gidgethub 6.0.0 read X-Hub-Signature-256 alone. The SHA-1 header is
    # legacy: it is sent along, but never enough. There is no time in it, so a copy of a request never expires.
    # With the content type of a form the signature covers the form as sent, not the JSON in its field payload.
    schemes=(
        header_hmac(
            "X-Hub-Signature-256",
            layout=Prefix(b"sha256="),
            echoes=(EchoHeader(header="X-Hub-Signature", algo="sha1", prefix=b"sha1="),),
        ),
    ),
    event_type=join(".", header("X-GitHub-Event"), "action"),
    # A redelivery has the GUID of the first delivery:
    # https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries
    idempotency_key=header("X-GitHub-Delivery"),
    summary=_GIT_SUMMARY,
    companions=(
        ("Accept", "*/*"),
        ("User-Agent", "GitHub-Hookshot/${hex:7}"),
        ("X-GitHub-Delivery", "${uuid}"),
        ("X-GitHub-Event", "${event}"),
        ("X-GitHub-Hook-ID", "${digits:9}"),
        ("X-GitHub-Hook-Installation-Target-ID", "724519301"),
        ("X-GitHub-Hook-Installation-Target-Type", "repository"),
    ),
)

# Both also send X-Hub-Signature(-256) and X-GitHub-* headers for receivers made for GitHub.
_GITEA_ECHOES = (
    EchoHeader(header="X-Gogs-Signature"),
    EchoHeader(header="X-Hub-Signature", algo="sha1", prefix=b"sha1="),
    EchoHeader(header="X-Hub-Signature-256", prefix=b"sha256="),
)

GITEA = Provider(
    name="gitea",
    monogram="Ge",
    docs="https://docs.gitea.com/usage/webhooks",
    steps="""Open Settings, Webhooks of the repository and add a Gitea webhook.
    Paste {url} as the target URL, choose POST and application/json.
    Enter a secret of your own and set {secret} to the same.""",
    # GitHub's event headers come along as well, so the catalogue asks for these first.
    recognise=("X-Gitea-Event", "X-Gitea-Signature"),
    # Bare hex. The server writes all four headers in one place: https://github.com/go-gitea/gitea, services/webhook.
    schemes=(header_hmac("X-Gitea-Signature", echoes=_GITEA_ECHOES),),
    event_type=join(".", header("X-Gitea-Event"), "action"),
    idempotency_key=header("X-Gitea-Delivery"),
    summary=_GIT_SUMMARY,
    companions=(
        ("X-Gitea-Delivery", "${uuid::delivery}"),
        ("X-Gitea-Event", "${event}"),
        ("X-Gitea-Event-Type", "${event}"),
        ("X-Gogs-Delivery", "${uuid::delivery}"),
        ("X-Gogs-Event", "${event}"),
        ("X-GitHub-Delivery", "${uuid::delivery}"),
        ("X-GitHub-Event", "${event}"),
    ),
    samples="github",
)

FORGEJO = Provider(
    name="forgejo",
    monogram="Fj",
    docs="https://forgejo.org/docs/latest/user/webhooks/",
    steps="""Open Settings, Webhooks of the repository and add a Forgejo webhook.
    Paste {url} as the target URL, choose POST and application/json.
    Enter a secret of your own and set {secret} to the same.""",
    recognise=("X-Forgejo-Event", "X-Forgejo-Signature"),
    # A fork of Gitea that kept Gitea's headers, so five headers hold one HMAC: Forgejo's server source,
    # services/webhook.
    schemes=(header_hmac("X-Forgejo-Signature", echoes=(EchoHeader(header="X-Gitea-Signature"), *_GITEA_ECHOES)),),
    event_type=join(".", header("X-Forgejo-Event"), "action"),
    idempotency_key=header("X-Forgejo-Delivery"),
    summary=_GIT_SUMMARY,
    companions=(
        ("X-Forgejo-Delivery", "${uuid::delivery}"),
        ("X-Forgejo-Event", "${event}"),
        ("X-Forgejo-Event-Type", "${event}"),
        *GITEA.companions,
    ),
    samples="github",
)

BITBUCKET = Provider(
    name="bitbucket",
    monogram="Bb",
    docs="https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
    steps="""Open Repository settings, Webhooks and add a webhook.
    Paste {url} as the URL.
    Enter a secret of your own and set {secret} to the same.""",
    answer="2xx within 10 s; retried 2 times",
    schedule=Schedule(spread=(2, MINUTE), limit=10.0),
    recognise=("X-Event-Key", "X-Hook-UUID"),
    # Bitbucket's X-Hub-Signature holds SHA-256, where GitHub's header of that name holds SHA-1. Hooks without a
    # secret are not signed at all, and the header is then missing.
    schemes=(header_hmac("X-Hub-Signature", layout=Prefix(b"sha256=")),),
    event_type=header("X-Event-Key"),
    # X-Hook-UUID is the hook's and always the same; X-Attempt-Number counts the attempts of one request.
    idempotency_key=header("X-Request-UUID"),
    summary=summarize("repository.name", first_of(_format_subject("pullrequest", "id"), "push.changes.0.new.name")),
    companions=(
        ("User-Agent", "Bitbucket-Webhooks/2.0"),
        ("X-Event-Key", "${type}"),
        ("X-Hook-UUID", "${uuid}"),
        ("X-Request-UUID", "${uuid}"),
        ("X-Attempt-Number", "1"),
    ),
)

GITLAB = Provider(
    name="gitlab",
    title="GitLab",
    docs="https://docs.gitlab.com/user/project/integrations/webhooks/",
    steps="""Open Settings, Webhooks of the project or group and add a webhook.
    Paste {url} as the URL.
    Set GITLAB_WEBHOOK_TOKEN to the signing token (whsec_..., GitLab 19 and later) or the secret token.""",
    answer="2xx within 10 s; paused after 4 failures, disabled after 40",
    schedule=Schedule(limit=10.0, then="four failures in a row pause the webhook, forty disable it"),
    secret_env=("GITLAB_WEBHOOK_SIGNING_TOKEN", "GITLAB_WEBHOOK_TOKEN"),
    # webhook-signature is any Standard Webhooks sender's, so it does not count here.
    recognise=("X-Gitlab-Event", "X-Gitlab-Token"),
    schemes=(
        # A signing token decides alone: both headers may come together, and the plain one proves less.
        standard_hmac(
            "webhook",
            key=KeyFormat(form="base64", strip=("whsec_",), claims=("whsec_",), exclusive=True),
            name="signing-token",
        ),
        SharedToken(name="token", place=InHeader("X-Gitlab-Token"), refuses=("whsec_",)),
    ),
    event_type=header("X-Gitlab-Event"),
    # Idempotency-Key stays the same when GitLab tries again. The event's UUID, all that versions before 17.4 send,
    # is that of the request that caused it: several tags of one push share it, and so do recursive webhooks.
    # https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers
    idempotency_key=first_of(
        header("Idempotency-Key"), header("webhook-id"), join_key(header("X-Gitlab-Event-UUID"), body_digest())
    ),
    summary=summarize(
        "project.name",
        first_of(
            join(" ", add_prefix("!", "object_attributes.iid"), "object_attributes.title"),
            strip_prefix("ref", "refs/heads/", "refs/tags/"),
            short_id("object_attributes.sha"),
        ),
    ),
    companions=(
        ("User-Agent", "GitLab/19.2.0"),
        ("X-Gitlab-Event", "${type}"),
        ("X-Gitlab-Event-UUID", "${uuid}"),
        ("X-Gitlab-Webhook-UUID", "${uuid}"),
        ("X-Gitlab-Instance", "https://gitlab.com"),
        ("Idempotency-Key", "${uuid::delivery}"),
        ("webhook-id", "${uuid::delivery}"),
    ),
)

GIT_HOSTS = (GITHUB, GITLAB, BITBUCKET, GITEA, FORGEJO)
