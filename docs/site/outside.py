"""Files outside docs/ that its pages link to, as pages and files of the site.

On GitHub such a link leads into the checkout; here each becomes a page (text,
code, a folder's list) or a copied file, so that the site is whole by itself.
Every module of the library is among them: the API links to its lines.
"""

import os.path
import pathlib
import re

from mkdocs.structure.files import File
import notebooks

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Those that the navigation names; all others lie below files/.
PAGES = {
  "CHANGELOG.md": "changelog.md",
  "CONTRIBUTING.md": "contributing.md",
  "README.md": "readme.md",
}
CODE = {".py": "python", ".sh": "bash", ".yaml": "yaml"}
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)((?:#[^)\s]*)?)\)")


def place(path):
  """Where in the site a file or folder of the repository is."""
  if path.is_relative_to(DOCS):
    return path.relative_to(DOCS).as_posix()
  name = path.relative_to(ROOT).as_posix()
  if path.suffix == ".ipynb":
    return f"{name.removesuffix('.ipynb')}.md"
  page = path.is_dir() or path.suffix in CODE
  return PAGES.get(name, f"files/{name}{'.md' if page else ''}")


def origin(uri):
  """The file or folder of the repository that a page shows."""
  for name, page in PAGES.items():
    if page == uri:
      return ROOT / name
  if uri.startswith("colabs/"):
    return (ROOT / uri).with_suffix(".ipynb")
  if not uri.startswith("files/"):
    return DOCS / uri
  path = ROOT / uri.removeprefix("files/")
  return path if path.exists() else path.with_suffix("")


def targets(path):
  """What the links in a page of text lead to, where it exists."""
  links = [link for link, _ in LINK.findall(path.read_text())]
  found = {(path.parent / link).resolve() for link in links}
  return {target for target in found if target.exists()}


def shown(path):
  """The text of the page that shows a file or folder."""
  name = path.relative_to(ROOT).as_posix()
  head = f"---\nsearch: {{exclude: true}}\n---\n\n# {name}\n\n"
  if path.is_dir():
    return head + "\n".join(f"- [{x.name}]({x.name})" for x in inside(path))
  code = path.read_text()
  return f'{head}~~~~~ {{.{CODE[path.suffix]} linenums="1"}}\n{code}~~~~~\n'


def inside(folder):
  """The files and folders in a folder that git would list."""
  return sorted(
    x for x in folder.iterdir() if not x.name.startswith(("__", "."))
  )


def on_files(files, config):
  """Adds all that is linked to, and what that links to in turn."""
  todo = {page.parent / page.name for page in DOCS.rglob("*.md")}
  todo |= {ROOT / name for name in PAGES} | set(ROOT.glob("jaxmix/**/*.py"))
  todo |= set(ROOT.glob("colabs/*.ipynb"))
  done = set()
  while todo:
    path = todo.pop()
    done.add(path)
    new = targets(path) if path.suffix in (".md", ".ipynb") else set()
    new |= set(inside(path)) if path.is_dir() else set()
    todo |= {x for x in new - done if x.is_relative_to(ROOT)}
  for path in sorted(done):
    if path.is_relative_to(DOCS):
      continue
    if path.suffix == ".ipynb":
      text, pictures = notebooks.page(path)
      made = {"content": text}
      for name, data in pictures.items():
        files.append(File.generated(config, f"colabs/{name}", content=data))
      name, whole = f"files/colabs/{path.name}", {"abs_src_path": str(path)}
      files.append(File.generated(config, name, **whole))
    elif path.is_dir() or path.suffix in CODE:
      made = {"content": shown(path)}
    else:
      made = {"abs_src_path": str(path)}
    file = File.generated(config, place(path), **made)
    # In no menu: reached by links alone.
    named = place(path) in PAGES.values() or path.suffix == ".ipynb"
    if not named or path.name == "README.md":
      file.inclusion = type(file.inclusion).NOT_IN_NAV
    files.append(file)
  return files


def on_page_markdown(markdown, page, **_):
  """Leads links to where the site has what they mean."""
  uri = page.file.src_uri
  source = origin(uri)
  if source.suffix in CODE:
    return markdown
  folder = source if source.is_dir() else source.parent

  def lead(match):
    target = (folder / match[1]).resolve()
    if not target.exists() or not target.is_relative_to(ROOT):
      return match[0]
    to = os.path.relpath(place(target), os.path.dirname(uri) or ".")
    return f"]({to}{match[2]})"

  return LINK.sub(lead, markdown)
