"""Names in a table, names in a module, and what is said of neither."""

import pytest

from experiments import registry

TABLE = {"one": 1, "two": 2}


def test_a_name_is_a_tables_or_a_modules():
  assert registry.find("key", "two", TABLE) == 2
  assert registry.find("key", "math:pi", TABLE) == pytest.approx(3.14159, 1e-5)
  assert registry.find("key", "os.path:join", {})("a", "b") == "a/b"


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("three", "key must be one of one, two, or package.module:attribute; got"),
    ("no.such:thing", "key='no.such:thing': no module named 'no'; run from"),
    ("math:tau2", "math has no 'tau2'; it has .*tau"),
  ],
)
def test_what_is_not_there_is_named(name, message):
  with pytest.raises(ValueError, match=message):
    registry.find("key", name, TABLE)


def test_an_error_inside_a_module_is_not_hidden(tmp_path, monkeypatch):
  (tmp_path / "broken_model.py").write_text("import nothing_like_it\n")
  monkeypatch.syspath_prepend(str(tmp_path))
  with pytest.raises(ValueError, match="no module named 'nothing_like_it'"):
    registry.find("model", "broken_model:Net", {})
