"""When each node runs and where each value lives, and an independent check of both."""
