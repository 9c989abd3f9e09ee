"""The daemon's side of a node: its HTTP client, and the links and profiles that customers import."""
