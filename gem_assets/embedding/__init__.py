"""Text to unit vectors: hashed features, the default embedder fitted on the landed corpus, or a sentence encoder."""
