"""What a notification is: a number, a moment, what happened, and a sentence about it."""

from datetime import datetime

from pydantic import BaseModel


class Notification(BaseModel):
    event_id: int
    timestamp: datetime
    event_type: str
    description: str
