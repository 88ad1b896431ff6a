"""The menu without the pages that are not there."""

import outside


def on_config(config):
  """Leaves out of mkdocs.yml's nav what has no file."""
  config.nav = [item for item in map(kept, config.nav) if item]
  return config


def kept(item):
  """An entry of the menu less the pages that do not exist, or None."""
  if isinstance(item, str):
    return item if outside.origin(item).exists() else None
  ((title, below),) = item.items()
  if isinstance(below, str):
    return item if kept(below) else None
  return {title: [one for one in map(kept, below) if one]}
