"""Compares search strategies."""
