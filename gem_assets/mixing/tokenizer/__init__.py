"""Which clusters a tokenizer was trained on, inferred from its merges."""
