"""Quality scores of documents, and models trained on what they choose."""
