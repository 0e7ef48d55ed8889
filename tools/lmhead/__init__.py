"""The coarse-fine LM head, offline: hidden states, the fit of basis and codebooks, exploration."""
