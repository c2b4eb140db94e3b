"""The parts of scripts/bench-load."""
