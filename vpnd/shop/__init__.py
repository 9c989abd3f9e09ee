"""The business: its rules and their SQL, one file a concept. It knows nothing of Telegram methods, HTTP or nodes."""
