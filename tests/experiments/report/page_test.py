"""report.html: table.md's cells, sorted by a browser, nothing from afar."""

import base64
import hashlib
from html.parser import HTMLParser
import json
import math
import re
import shutil
import subprocess

import pytest

from experiments import report

# A snap's Chromium sees no temporary files.
BROWSER = next(
  (
    path
    for path in map(shutil.which, ("google-chrome", "chromium", "chrome"))
    if path and not path.startswith("/snap/")
  ),
  None,
)
# What makes a browser load something, or go somewhere.
LOADING = {"src", "srcset", "href", "data", "poster", "action", "background"}


class Page(HTMLParser):
  """What a browser finds: tags with their attributes and the text below."""

  def __init__(self, text):
    super().__init__()
    self.found, self._open = [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    entry = [tag, dict(attrs), ""]
    self.found.append(entry)
    if tag not in ("meta", "link", "img"):
      self._open.append(entry)

  def handle_endtag(self, tag):
    assert self._open.pop()[0] == tag

  def handle_data(self, data):
    for entry in self._open:
      entry[2] += data

  def all(self, *tags):
    return [(attrs, text) for tag, attrs, text in self.found if tag in tags]

  def rows(self):
    """[[cell's text, and bold or not], ...], the heads first."""
    rows = []
    for tag, _, text in self.found:
      if tag == "tr":
        rows.append([])
      elif tag in ("th", "td"):
        rows[-1].append(text)
      elif tag == "strong" and rows[-1]:
        rows[-1][-1] = rows[-1][-1].replace(text, f"**{text}**")
    return rows


def written(folder, **options):
  text = report.write([folder], folder / "out", **options)
  page = Page((folder / "out" / "report.html").read_text("utf-8"))
  assert not page._open
  return page, text


@pytest.fixture
def several(two, evaluation, make_group, make_run):
  """Rows with one seed in common, with none, an infinity and no number."""
  make_group(two / "erm 10", {2: 115.0, 3: 11.0}, method="erm")
  make_group(two / "erm 9", {7: 9.5}, method="erm", alpha=3.0)
  for name, loss in (("dat", math.inf), ("cutmix", math.nan)):
    evals = [evaluation(300, 20.0, polyak_loss=loss)]
    make_run(two / name, 0.0, evals=evals, method=name)
  return two


def test_its_cells_are_those_of_table_md(several, table):
  page, text = written(several)
  heads, *rows = page.rows()
  assert len(rows) == 6 and "**−1.00 ± 0.58**" in rows[-1]
  assert "+101.00 (1 of 2 runs)" in rows[2]
  assert {r[0]: dict(zip(heads, r, strict=True)) for r in rows} == table(text)
  (note, *_) = page.all("p")
  assert f"\n{note[1]}\n" in text


def test_live_weights_are_shown_where_asked_for(two):
  page, _ = written(two, weights="live")
  assert page.rows()[1][2] == "50.00 ± 0.00"


def test_a_cell_has_the_whole_number_that_it_is_sorted_by(several):
  page, _ = written(several)
  values = [attrs.get("data-value") for attrs, _ in page.all("td")]
  names = [row[0] for row in page.rows()[1:]]
  likelihood = dict(zip(names, values[2::5], strict=True))
  assert likelihood["dat"] == "Infinity" and likelihood["cutmix"] is None
  assert float(likelihood["mixupe"]) == pytest.approx(0.11)
  paired = dict(zip(names, values[4::5], strict=True))
  assert paired["mixup"] is None
  assert float(paired["mixupe"]) == pytest.approx(-1.0)


CLICKS = """<script>
const names = () => [...document.querySelectorAll("tbody th")]
  .map(cell => cell.textContent);
const told = [names()];
for (const [column, clicks] of [[0, 2], [2, 3], [3, 1], [5, 2]]) {
  const head = document.querySelectorAll("thead th")[column];
  for (let k = 0; k < clicks; k++) {
    head.querySelector("button").click();
    told.push([column, head.getAttribute("aria-sort"), ...names()]);
  }
}
told.push(document.querySelectorAll("[aria-sort]").length);
document.body.innerHTML = `<pre>${JSON.stringify(told)}</pre>`;
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_click_on_a_head_sorts_in_a_browser(several):
  written(several)
  text = (several / "out" / "report.html").read_text("utf-8")
  # The policy would not let the test's own script run.
  text, one = re.subn(r"<meta http-equiv[^>]*>", "", text)
  assert one == 1
  path = several / "clicked.html"
  path.write_text(text.replace("</body>", CLICKS + "</body>"), "utf-8")
  done = subprocess.run(
    [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    + [f"--user-data-dir={several / 'profile'}", path.as_uri()],
    capture_output=True,
    text=True,
    timeout=120,
  )
  first, *clicked, sorted_heads = json.loads(
    re.search("<pre>(.*)</pre>", done.stdout)[1]
  )
  assert first == ["cutmix", "dat", "erm 10", "erm 9", "mixup", "mixupe"]
  up, down = "ascending", "descending"
  names = ["cutmix", "dat", "erm 9", "erm 10", "mixup", "mixupe"]
  errors = ["erm 9", "mixupe", "mixup", "cutmix", "dat", "erm 10"]
  assert clicked[:2] == [[0, up, *names], [0, down, *names[::-1]]]
  assert clicked[2][2:] == errors
  # Equals stay in their order, and a third click takes the sorting back.
  backwards = ["erm 10", "cutmix", "dat", "mixup", "mixupe", "erm 9"]
  assert clicked[3][2:] == backwards and clicked[4] == [2, None, *first]
  # Infinity is the largest number, and what is none is last, either way.
  likelihood = ["erm 9", "mixupe", "mixup", "erm 10", "dat", "cutmix"]
  assert clicked[5][2:] == likelihood
  none = ["erm 9", "mixup"]
  assert clicked[6][2:] == ["mixupe", "cutmix", "dat", "erm 10", *none]
  assert clicked[7][2:] == ["erm 10", "cutmix", "dat", "mixupe", *none]
  assert sorted_heads == 1


def test_nothing_is_loaded_from_anywhere(several):
  page, _ = written(several)
  loaded = [
    (tag, value)
    for tag, attrs, _ in page.found
    for name, value in attrs.items()
    if name in LOADING
  ]
  assert [tag for tag, _ in loaded] == ["link", "img", "img"]
  assert all(value.startswith("data:") for _, value in loaded)
  assert {tag for tag, *_ in page.found} <= set(
    "html head meta link title style body h1 div table thead tbody tr th td "
    "strong p figure img figcaption script".split()
  )
  ((_, style),), ((_, script),) = page.all("style"), page.all("script")
  assert not re.search(r"url\(|@import|image-set|://", style)
  assert not re.search(r"fetch|XMLHttp|import|WebSocket|beacon|://", script)


def test_a_browser_is_told_to_load_and_run_nothing_else(two):
  page, _ = written(two)
  ((policy, _),) = [m for m in page.all("meta") if "http-equiv" in m[0]]
  assert policy["http-equiv"] == "Content-Security-Policy"
  told = dict(part.split(" ", 1) for part in policy["content"].split("; "))
  assert told["default-src"] == "'none'" and told["img-src"] == "data:"
  for tag in ("style", "script"):
    ((_, text),) = page.all(tag)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert told[f"{tag}-src"] == f"'sha256-{digest}'"


def test_it_holds_every_picture_with_its_caption(tmp_path, make_group):
  for alpha in (0.1, 1.0, 4.0):
    make_group(tmp_path / f"a{alpha}", {0: alpha}, alpha=alpha, beta=alpha)
  page, _ = written(tmp_path)
  names = ["curves.png", "results.png", "against.png"]
  shown = [attrs["src"].split(",") for attrs, _ in page.all("img")]
  assert {kind for kind, _ in shown} == {"data:image/png;base64"}
  assert [base64.b64decode(data) for _, data in shown] == [
    (tmp_path / "out" / name).read_bytes() for name in names
  ]
  captions = [text for _, text in page.all("figcaption")]
  assert len(set(captions)) == 3 and "one key alone" in captions[2]


def test_what_runs_were_made_with_is_there_if_known(two):
  assert not written(two)[0].all("details")
  told = {
    "command": "python -m experiments.main --config=a.py:<b> --workdir='c d'",
    "commit": "83ab30a249ed",
    "versions": {"jax": "0.10.2", "flax": None},
  }
  for seed in (0, 1):
    path = two / "mixup" / f"seed_{seed}" / "provenance.json"
    path.write_text(json.dumps([{"from_step": 0} | told]))
  page, _ = written(two)
  assert [text for _, text in page.all("code")] == [told["command"]]
  assert [text for _, text in page.all("dt")] == [*told]
  assert page.all("dd")[2][1] == "jax 0.10.2, flax None"


def test_what_was_left_out_is_said(two, make_run):
  late = make_run(two / "<i>late", 0.0, evals=[])
  page, _ = written(two)
  *_, (attrs, text) = page.all("p")
  assert attrs == {"class": "warning"}
  assert text.startswith(f"Warning: {late} is unfinished")
