"""What an artifact or a run is, and whether it is whole."""
