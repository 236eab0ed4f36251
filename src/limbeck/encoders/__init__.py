"""Transformer encoders as Hugging Face has them: found, cut to fewer layers and pieces, asked for their states."""
