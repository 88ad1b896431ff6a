"""llms.txt: the site's pages with a line each, for programs that read it."""

import pathlib
import re

LINES = []


def on_pre_build(**_):
  """Begins anew: `mkdocs serve` builds many times in one process."""
  LINES.clear()


def on_page_markdown(markdown, page, **_):
  """Notes a page of the menu by its title and its first sentence."""
  if page.file.inclusion.is_not_in_nav():
    return
  prose = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
  paragraphs = re.split(r"\n\s*\n", prose)
  prose = [p for p in paragraphs if re.match(r"\s*[A-Z`*]", p)]
  first = " ".join(prose[0].split()) if prose else ""
  plain = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", first)
  sentence = re.split(r"(?<=\.)\s", plain)[0].rstrip(",:.")
  LINES.append(
    f"- [{page.title}]({page.url})" + (sentence and f": {sentence}.")
  )


def on_post_build(config, **_):
  """Writes the file."""
  head = f"# {config.site_name}\n\n> {config.site_description}\n\n"
  path = pathlib.Path(config.site_dir) / "llms.txt"
  path.write_text(head + "\n".join(LINES) + "\n")
