"""What a person sees and presses: texts, screens, handlers and the notices that the outbox sends."""
