"""Exports a trained network."""
