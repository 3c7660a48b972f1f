"""The lab: experiments on an app, as data, and what runs and evaluates them."""
