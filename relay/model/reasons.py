"""Why an event has its verdict or was rejected: a code for programs, a sentence for people."""

REASONS = {
    "signature_missing": "No signature header: something removed it, or this is not the provider.",
    "signature_mismatch": "No known secret gives this signature: the secret is wrong or the body changed.",
    "header_malformed": "The signature header cannot be read.",
    "timestamp_stale": "The signature is too old.",
    "timestamp_future": "The signature is from the future: one of the two clocks is wrong.",
    "body_malformed": "The body lacks what the signature is made of.",
    "secret_missing": "There is no secret for this source, so nothing could be checked.",
    "certificate_missing": "The certificate the signature is made with is not at hand, so nothing was checked.",
    "verifier_failed": "The verifier of this source failed, so its word counts as no.",
    "secret_unusable": "The secret is not in the form this provider gives out.",
    "verification_off": "Verification is off for this source.",
    "vault_locked": "The vault is locked, so nothing could be checked.",
    "no_source": "No source is configured for this path.",
    "no_signature_expected": "This source does not sign its requests.",
    "event_not_listed": "The source does not list this event type.",
    "idempotency_key_missing": "The source requires an idempotency key and the request has none.",
    "schema": "The body does not fit the source's schema.",
    "content_type": "The source does not take this content type.",
    "invalid_recipient": "The field that mail goes to holds no mail address.",
    "handshake": "A setup handshake, answered as the provider expects.",
    "recovered": "Fetched from the provider's own API afterwards, so no signature could be checked.",
    "loop": "The request came from a relay: a forward came back.",
}


def sentence(reason: str) -> str:
    """Return the sentence for a reason code; an unknown code is given back as it is."""
    return REASONS.get(reason, reason)
