"""What training has beside the numbers: devices, progress, checkpoints, and models that are kept."""
