"""Search spaces, one folder each: its choices, shared weights, single networks and costs."""
