-- What was mailed: a row for each delivery that handed a mail over, written before it does. Nothing that
-- stands here goes out again unless somebody forces it, also after a crash between the two.
CREATE TABLE sent_mails (
  delivery_id INTEGER PRIMARY KEY,
  event_id    INTEGER NOT NULL REFERENCES events(id) ON DELETE CASCADE,
  template    TEXT    NOT NULL,
  recipients  TEXT    NOT NULL,
  kept        INTEGER NOT NULL,              -- 1: in the outbox, which does not keep it from being sent later
  again       INTEGER NOT NULL,              -- 1: may stand beside others: forced, or the template is not sent once
  state       TEXT    NOT NULL,              -- handing, sent
  at          INTEGER NOT NULL
);
CREATE UNIQUE INDEX sent_mails_once ON sent_mails(event_id, template, kept) WHERE again = 0;
CREATE INDEX sent_mails_event ON sent_mails(event_id, template);
CREATE INDEX sent_mails_hour ON sent_mails(template, at) WHERE kept = 0;
