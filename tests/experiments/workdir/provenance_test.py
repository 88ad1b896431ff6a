"""What a result says it was made with."""

import subprocess

import jax

from experiments.workdir import provenance


def test_it_names_command_devices_and_versions(monkeypatch):
  monkeypatch.setattr("sys.argv", ["main.py", "--config=a b.py"])
  found = provenance.describe()
  assert found["command"] == "python -m experiments.main '--config=a b.py'"
  assert found["devices"] == "8 x cpu"
  assert found["processes"] == 1
  assert found["versions"]["jax"] == jax.__version__


def test_a_commit_is_marked_where_tracked_files_differ(tmp_path, monkeypatch):
  def git(*words):
    subprocess.run(["git", "-C", tmp_path, *words], check=True)

  monkeypatch.setattr(provenance, "__file__", str(tmp_path / "here.py"))
  assert provenance.commit() is None
  git("init", "-q")
  (tmp_path / "here.py").write_text("one")
  git("add", ".")
  identity = ("-c", "user.name=n", "-c", "user.email=n@example.org")
  git(*identity, "commit", "-qm", "One")
  clean = provenance.commit()
  assert len(clean) == 12
  (tmp_path / "here.py").write_text("two")
  assert provenance.commit() == clean + "+"
