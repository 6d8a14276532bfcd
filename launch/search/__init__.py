"""Searches for an architecture."""
