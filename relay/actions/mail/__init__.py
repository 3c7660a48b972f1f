"""Mail: templates, composing, sending by SMTP, and the outbox of files."""
