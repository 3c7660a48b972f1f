"""The room admission/: may this request come in, and is it what its source asks for; nothing is kept or sent."""
