"""Equations as MathML, made when the site is built: no script, no font."""

import html
import re

from latex2mathml.converter import convert

# What pymdownx.arithmatex makes of $...$ and $$...$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(
  r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL
)


def on_page_content(content, **_):
  """Puts MathML in the place of LaTeX."""
  inline = lambda match: convert(html.unescape(match[1]))
  block = lambda match: convert(html.unescape(match[1]), display="block")
  return BLOCK.sub(block, INLINE.sub(inline, content))
