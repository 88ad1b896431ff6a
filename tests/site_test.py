"""The site builds strictly, is whole by itself, and documents every name."""

import base64
import html.parser
import importlib.util
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

import nbformat
import pytest

from tests import api_test

ROOT = pathlib.Path(__file__).parents[1]
VOID = {"img": "src", "script": "src", "iframe": "src", "source": "src"}
MODELS = "ResNet VisionTransformer CoAtNet VGG LeNet MLP GIN Graphs BatchNorm"


class Page(html.parser.HTMLParser):
  """What a page loads when it opens, where it leads, and its anchors."""

  def __init__(self, text):
    super().__init__()
    self.loads, self.links, self.anchors = [], [], set()
    self.words = set()
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    given = dict(attrs)
    self.anchors |= {given[k] for k in ("id", "name") if given.get(k)}
    self.words.add(tag)
    if tag in VOID and VOID[tag] in given:
      self.loads.append(given[VOID[tag]])
    if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
      self.loads.append(given["href"])
    if tag == "a" and given.get("href"):
      self.links.append(given["href"])
    self.loads += re.findall(r"url\(([^)]+)\)", given.get("style") or "")


def build(folder, *, config=ROOT / "mkdocs.yml"):
  # Not --quiet, which hides warnings from --strict as well.
  words = ["-m", "mkdocs", "build", "--strict"]
  return subprocess.run(
    [sys.executable, *words, f"--config-file={config}", f"--site-dir={folder}"],
    cwd=ROOT,
    env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    capture_output=True,
    text=True,
  )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  for needed in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
    if importlib.util.find_spec(needed) is None:
      pytest.skip(f"{needed} is not installed: pip install -e '.[docs]'")
  folder = tmp_path_factory.mktemp("site")
  done = build(folder)
  assert done.returncode == 0, done.stdout + done.stderr
  return folder


@pytest.fixture(scope="module")
def pages(site):
  return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def external(address):
  return bool(re.match(r"(\w+:)?//", address.strip("'\" ")))


def test_nothing_is_fetched_from_elsewhere(site, pages):
  for path, page in pages.items():
    assert page.loads
    found = [address for address in page.loads if external(address)]
    assert not found, (path, found)
  styles = list(site.rglob("*.css"))
  assert styles
  for style in styles:
    text = style.read_text()
    found = re.findall(r"(?:url\(|@import\s*)['\"]?((?:\w+:)?//[^'\")]+)", text)
    assert not found, (style, found)


def test_links_lead_somewhere(site, pages):
  count = 0
  for path, page in pages.items():
    if path.name == "404.html":  # served at any address
      continue
    for link in {*page.links, *page.loads}:
      parts = urllib.parse.urlsplit(link)
      if parts.scheme or parts.netloc:
        continue
      target = (path.parent / urllib.parse.unquote(parts.path)).resolve()
      target = path if not parts.path else target
      target = target / "index.html" if target.is_dir() else target
      assert target.exists(), (path, link)
      if parts.fragment and target in pages:
        anchor = urllib.parse.unquote(parts.fragment)
        assert anchor in pages[target].anchors, (path, link)
      count += 1
  assert count > 1000


def public_names():
  """The addresses of every public value, those of one value together."""
  found = {}
  public = {*api_test.FUNCTIONS.values(), *api_test.CLASSES.values()}
  for module in api_test.MODULES:
    for name, value in vars(module).items():
      known = inspect.isfunction(value) or inspect.isclass(value)
      if known and not name.startswith("_") and value in public:
        found.setdefault(value, set()).add(f"{module.__name__}.{name}")
  named = [{f"jaxmix.models.{name}"} for name in MODELS.split()]
  return [*found.values(), *named]


def test_every_public_name_is_documented(site, pages):
  api = [page for path, page in pages.items() if path.parent.name == "api"]
  anchors = set().union(*(page.anchors for page in api))
  assert len(public_names()) > 90
  assert not [names for names in public_names() if not names & anchors]


def test_an_entry_leads_to_its_line(site, pages):
  page = pages[site / "api" / "mixing.html"]
  code = (ROOT / "jaxmix" / "mixing.py").read_text().splitlines()
  line = code.index("def draw(") + 1
  link = f"../files/jaxmix/mixing.py.html#__codelineno-0-{line}"
  assert link in page.links


def test_equations_are_rendered(pages):
  math = [page for page in pages.values() if "math" in page.words]
  assert len(math) >= 7
  for path in pages:
    assert "arithmatex" not in path.read_text(), path


def test_llms_txt_names_every_page_of_the_menu(site):
  lines = (site / "llms.txt").read_text().splitlines()
  assert lines[0] == "# jaxmix"
  named = re.findall(r"^- \[[^]]+\]\(([^)]+)\)", "\n".join(lines), re.M)
  assert {"how_do_i.html", "api/mixupe.html", "slow.html"} <= set(named)
  assert all((site / page).exists() for page in named)


def test_every_notebook_is_a_page_and_a_file(site, pages):
  for path in (ROOT / "colabs").glob("*.ipynb"):
    page = site / "colabs" / f"{path.stem}.html"
    assert f"../files/colabs/{path.name}" in pages[page].links
    first = json.loads(path.read_text())["cells"][0]["source"]
    title = next(line for line in first if line.startswith("# "))
    assert f">{title[2:].strip()}<a" in page.read_text()


def cell(source, *outputs):
  return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def test_a_page_shows_the_outputs_of_a_run_of_the_same_text(tmp_path):
  spec = importlib.util.spec_from_file_location(
    "notebooks", ROOT / "docs" / "site" / "notebooks.py"
  )
  notebooks = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(notebooks)
  (tmp_path / "run").mkdir()
  write = lambda *cells, to: nbformat.write(
    nbformat.v4.new_notebook(cells=list(cells)), to / "one.ipynb"
  )
  told = nbformat.v4.new_output("stream", name="stdout", text="six\n")
  noise = nbformat.v4.new_output("stream", name="stderr", text="a warning")
  data = {"image/png": base64.b64encode(b"a picture").decode()}
  drawn = nbformat.v4.new_output("display_data", data=data)
  write(cell("print()"), to=tmp_path)
  write(cell("print()", told, noise, drawn), to=tmp_path / "run")
  text, pictures = notebooks.page(tmp_path / "one.ipynb", tmp_path / "run")
  assert text == (
    "~~~~~ {.python}\nprint()\n~~~~~\n\n~~~~~ {.text}\nsix\n~~~~~\n\n"
    "![What the cell above draws](one_0_0.png)\n"
  )
  assert pictures == {"one_0_0.png": b"a picture"}
  write(cell("print('changed')"), to=tmp_path)
  text, pictures = notebooks.page(tmp_path / "one.ipynb", tmp_path / "run")
  assert "changed" in text and "six" not in text and not pictures


def test_a_broken_link_fails_the_build(site, tmp_path):
  docs = tmp_path / "docs"
  docs.mkdir()
  (docs / "index.md").write_text("# Home\n\n[gone](gone.md)\n")
  config = (ROOT / "mkdocs.yml").read_text()
  config = re.sub(
    r"\n(hooks|plugins|nav|extra_css):.*?(?=\n\w|\Z)", "", config, flags=re.S
  )
  (tmp_path / "mkdocs.yml").write_text(config)
  done = build(tmp_path / "out", config=tmp_path / "mkdocs.yml")
  assert done.returncode != 0
  assert "gone.md" in done.stdout + done.stderr
