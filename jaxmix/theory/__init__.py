"""The theory of mixup as functions."""
