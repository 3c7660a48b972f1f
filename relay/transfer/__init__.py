"""Export and import: events as JSON lines, HAR, curl, HTTP or pytest, and back again.

It turns events into text and text into events. It sends nothing, and leaves credentials out by default.
"""
