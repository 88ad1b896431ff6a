"""Docstrings as the site's parser wants them."""

import re

import griffe


class Examples(griffe.Extension):
  """Reads `Example:`, as it is called here, as Google's section."""

  def on_object(self, *, obj, **_):
    """Renames the section of one object's docstring."""
    if obj.docstring:
      text = obj.docstring.value
      obj.docstring.value = re.sub(
        r"^Example:$", "Examples:", text, flags=re.MULTILINE
      )
