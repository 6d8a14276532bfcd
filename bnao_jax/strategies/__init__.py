"""Search strategies; each is an init / tell / ask over pools and scores."""
