"""Compiles the programs of a search for devices that are not here."""
