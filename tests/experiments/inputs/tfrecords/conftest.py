import pytest

from experiments import inputs


@pytest.fixture
def config(prepared):
  # Groups of 5 records: several in an epoch, and smaller than a file (8).
  config = inputs.defaults()
  config.seed = 3
  config.update(
    dataset="imagenet2012",
    data_dir=str(prepared),
    batch_size=5,
    eval_batch_size=5,
    image_size=8,
    resize_size=10,
    shuffle_buffer=10,
  )
  return config
