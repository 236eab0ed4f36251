"""Models that are fitted at once, without epochs."""
