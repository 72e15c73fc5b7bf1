"""One small file an extension family: its options and what they mean."""
