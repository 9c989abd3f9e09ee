"""Screens: pure functions from what is known to what a person sees. None of them reads a database or sends anything."""
