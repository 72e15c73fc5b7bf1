"""The iptables language: reading, model, writing and compiling."""
