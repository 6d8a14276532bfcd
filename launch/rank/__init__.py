"""Measures how well shared weights rank architectures."""
