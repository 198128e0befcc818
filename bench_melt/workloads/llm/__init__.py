"""Language models: requests to a server that speaks the OpenAI-compatible streaming API."""
