"""What runs on a VPN node: an Xray core as a child, a durable copy of its credentials, and an API for the daemon."""
