"""Everything that moves money, played against an oracle."""
