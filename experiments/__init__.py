"""The training jobs built on jaxmix."""

import gc

# Half a million objects come with the imports, and stay: looking for cycles
# among them was a tenth of the time in which a command starts.
gc.set_threshold(100_000, 50, 100)
