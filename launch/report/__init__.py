"""Draws a search as an HTML page."""
