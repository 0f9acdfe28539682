"""Trainers on TRL: bucket-aware SFT and HDPO."""
