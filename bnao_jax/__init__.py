"""One-shot neural architecture search in JAX; import the module you need."""
