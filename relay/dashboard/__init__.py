"""The dashboard: a module or folder for each page, with its handlers and its view models.

Pages do not import each other; shared code is in this folder.
"""
