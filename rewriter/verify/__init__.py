"""What the components need of a Hugging Face cache, what is in it, and how it gets there."""
