"""The room mail/: composing a mail, sending it, keeping it."""
