"""A small world on one machine: Telegram, a payment provider, PostgreSQL and a node, for the demo, the tests and the bench."""
