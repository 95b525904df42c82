"""What `make gpu` does on a machine with one accelerator: `python3 -m gpu`."""
