"""The operator's command line. click and rich live here, nowhere else."""
