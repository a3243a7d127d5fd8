"""Side-by-side speed and memory on the machine at hand: ``python -m benchmarks`` (or ``make benchmark``)."""
