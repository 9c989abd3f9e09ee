"""What runs by the clock, or by a wake-up."""
