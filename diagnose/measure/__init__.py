"""Pure functions: tensors or arrays in, numbers out."""
