"""The dashboard: one module or folder for each page, with its handlers and what its templates show.

Pages do not import each other; what they share lies in this folder.
"""
