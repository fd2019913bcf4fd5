"""What `examples/benchmark.py` measures; other programs take their provenance from here."""
