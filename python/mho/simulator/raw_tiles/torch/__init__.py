"""Raw tile that computes in torch."""
