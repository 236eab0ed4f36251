"""What a run leaves behind, and how runs stand beside each other."""
