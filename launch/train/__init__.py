"""Trains one architecture alone."""
