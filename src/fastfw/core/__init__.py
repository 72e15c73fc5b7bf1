"""The compiled engine: bytes to packets, connections, rules and decisions. Knows no file, socket or configuration."""
