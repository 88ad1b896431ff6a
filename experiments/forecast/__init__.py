"""What a run would cost on a TPU: python -m experiments.forecast --help.

Compiles a config's real training step for a TPU topology, on any machine, and
reads off the compiled program what a roofline needs. Nothing is executed: the
result is a model of the run, not a measurement.
"""

from experiments.forecast.model import forecast as forecast
