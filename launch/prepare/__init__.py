"""Fetches a data set beforehand."""
