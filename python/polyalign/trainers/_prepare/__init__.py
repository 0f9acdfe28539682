"""Preparing data sets: what is given by name, rows that can't train left out, columns added, rows held out."""
