"""The gateway daemon: an engine on NFQUEUE with its configuration, control socket, metrics and state on disk."""
