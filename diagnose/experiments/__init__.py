"""Short trainings and probes that produce evidence; nothing is judged here."""
