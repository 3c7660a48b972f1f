"""What each template is given: one frozen type a page or part, the template's name beside it."""
