"""Times the parts of a search."""
