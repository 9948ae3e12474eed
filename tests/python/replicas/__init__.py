"""Trainings of one of two processes, by what they show; `nn/replicas_worker.py` runs them."""
