"""Search over the keys of a config: the space, how it is sampled, what was found. No torch, no Lightning."""
