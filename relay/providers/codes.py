"""What the codes of failed mails and SMS mean, in words, and where that stands."""

import re
from dataclasses import dataclass

# The commonest of https://www.twilio.com/docs/api/errors, each with a page of its own there.
_TWILIO = {
    "21211": "the recipient's number is not valid",
    "21408": "sending to that country is not switched on for the account",
    "21606": "the sender's number cannot send SMS, or is not the account's",
    "21608": "a trial account may only write to numbers it has verified",
    "21610": "the recipient has answered STOP and gets nothing more from this sender",
    "21612": "no way leads from this sender to this recipient",
    "21614": "the recipient's number is not a mobile one",
    "21617": "the text is longer than 1600 characters",
    "30001": "the queue was full: more was sent than this number may send",
    "30002": "the account was suspended",
    "30003": "the phone could not be reached: switched off, or out of range",
    "30004": "the message was blocked by the carrier, or by the recipient",
    "30005": "nobody has that number, or it takes no messages any more",
    "30006": "that number is a landline, or its carrier could not be reached",
    "30007": "the carrier, or Twilio, filtered the message as unwanted",
    "30008": "the carrier gave no reason",
    "30009": "a part of a long message did not arrive",
    "30010": "the message costs more than the highest price that was set",
    "30011": "the recipient's number takes no pictures (MMS)",
    "30017": "the carrier's network is congested",
    "30022": "more was sent at a time than its A2P 10DLC campaign may send",
    "30023": "this A2P 10DLC brand has sent all it may today",
    "30024": "the carrier does not know this sender's number yet",
    "30032": "the toll-free number that sent it has not been verified",
    "30034": "the number that sent it belongs to no registered A2P 10DLC campaign",
    "30036": "it waited longer in the queue than its validity period allows",
    "30410": "the carrier did not answer in time",
    "30450": "blocked by Twilio's protection from SMS pumping",
    "30500": "something went wrong inside Twilio",
    "63016": "outside the 24 hours after the recipient's last message WhatsApp takes templates only",
    "63024": "the recipient is not on WhatsApp, or not reachable there",
}

# RFC 3463, section 3; what comes after a first number of 4 is tried again, after a 5 it is not.
_MAIL = {
    "1.1": "there is no such mailbox",
    "1.2": "there is no such mail domain",
    "1.3": "the address is not valid",
    "1.6": "the mailbox has moved",
    "1.8": "the sender's domain does not exist",
    "2.0": "the mailbox did not take it",
    "2.1": "the mailbox is switched off",
    "2.2": "the mailbox is full",
    "2.3": "the mail is larger than the mailbox allows",
    "3.0": "the mail server had a trouble of its own",
    "3.1": "the mail server's disk is full",
    "3.2": "the mail server takes no mail at the moment",
    "3.4": "the mail is larger than the server allows",
    "4.1": "the mail server did not answer",
    "4.4": "no mail server could be found for the domain",
    "4.7": "it could not be delivered in time",
    "5.0": "the two mail servers did not understand each other",
    "5.3": "the mail has too many recipients",
    "6.0": "the mail's content was not accepted",
    "7.0": "refused for reasons of security",
    "7.1": "the recipient's server refuses mail from this sender",
    "7.26": "neither SPF nor DKIM vouches for the sender",
}
_POSTMARK = {
    "HardBounce": "there is no such mailbox",
    "Transient": "the recipient's server had a passing trouble",
    "SoftBounce": "the mailbox is full or does not take mail for now",
    "DnsError": "no mail server could be found for the domain",
    "SpamNotification": "the recipient's server took it for spam",
    "Blocked": "the recipient's server blocked the sender",
    "DMARCPolicy": "the sender's DMARC policy forbids it",
    "BadEmailAddress": "the address is not valid",
    "ManuallyDeactivated": "the address was switched off in Postmark",
    "SpamComplaint": "the recipient marked it as spam",
}
_RESEND = {
    "Permanent": "the recipient's server refused it for good",
    "Permanent General": "the recipient's server refused it for good",
    "Permanent NoEmail": "the address could not be read from the bounce",
    "Permanent Suppressed": "the address bounced before, so it was not tried again",
    "Permanent OnAccountSuppressionList": "the address is on the account's suppression list",
    "Transient": "the recipient's server had a passing trouble",
    "Transient General": "the recipient's server had a passing trouble",
    "Transient MailboxFull": "the mailbox is full",
    "Transient MessageTooLarge": "the mail is larger than the server allows",
    "Transient ContentRejected": "the mail's content was not accepted",
    "Transient AttachmentRejected": "an attachment was not accepted",
}
_RFC = "https://www.rfc-editor.org/rfc/rfc3463#section-3"
_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a code means in a few words, and the address where that stands."""

    words: str
    source: str


def meaning(provider: str, code: str) -> Meaning | None:
    """Return what a provider's code means; None for one that nobody has put into words."""
    if provider == "twilio" and code in _TWILIO:
        return Meaning(words=_TWILIO[code], source=f"https://www.twilio.com/docs/api/errors/{code}")
    if code in _POSTMARK and provider in ("postmark", "smtp"):
        return Meaning(
            words=_POSTMARK[code], source="https://postmarkapp.com/developer/api/bounce-api#bounce-types"
        )
    if code in _RESEND and provider in ("resend", "smtp"):
        return Meaning(
            words=_RESEND[code],
            source="https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types",
        )
    enhanced = _ENHANCED.fullmatch(code)
    if enhanced and provider != "twilio" and enhanced[1] in _MAIL:
        return Meaning(words=_MAIL[enhanced[1]], source=_RFC)
    return None
