"""The room lab/: experiments on an app, as data, and what runs and judges them."""
