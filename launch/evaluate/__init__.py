"""Evaluates a trained network."""
