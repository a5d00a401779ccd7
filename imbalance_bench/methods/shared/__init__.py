"""Parts that several methods are made of; no method by itself."""
