"""What is measured about a cut: rate, codebook use, compute."""
