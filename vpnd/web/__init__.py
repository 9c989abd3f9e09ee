"""What comes in by HTTP: webhooks, subscription links, health; metrics on a listener of their own."""
