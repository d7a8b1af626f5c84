"""Fuzzing of the decoder: see campaign.py and guided.py."""
