"""The lab: experiments on a target, and their reports."""
