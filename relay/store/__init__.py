"""The room store/: the only room that speaks SQL."""
