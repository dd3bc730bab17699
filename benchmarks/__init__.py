"""What the SDK costs, measured: ``python -m benchmarks`` runs everything in here."""
