"""A bucket on this machine: as much of Google's storage as a run needs.

`Server` answers the JSON API that Orbax's TensorStore speaks; `install` has
epath reach it too, in place of the client library gcsfs. Google's own client,
which Orbax asks about the bucket, does by STORAGE_EMULATOR_HOST.
"""

import http.server
import io
import json
import os
import threading
import urllib.error
import urllib.parse
import urllib.request

import fsspec

_ENDPOINT = "TENSORSTORE_GCS_HTTP_URL"  # TensorStore's own variable


class Server:
  """Objects in memory; as at Google, each is only ever replaced whole."""

  def __init__(self):
    self.objects = {}  # "bucket/name": (bytes, generation)
    # (method, "bucket/name") -> a status to fail with, or None.
    self.fault = lambda method, name: None
    self._generation = 0
    self._lock = threading.Lock()
    handler = type("Handler", (_Handler,), {"store": self})
    self._http = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    self._http.daemon_threads = True
    threading.Thread(target=self._http.serve_forever, daemon=True).start()
    self.environment = {
      _ENDPOINT: f"http://localhost:{self._http.server_port}",
      "STORAGE_EMULATOR_HOST": f"http://localhost:{self._http.server_port}",
      "EPATH_USE_TF": "0",  # TensorFlow knows no other server than Google's
      "NO_GCE_CHECK": "true",
    }

  def close(self):
    self._http.shutdown()
    self._http.server_close()

  def text(self, url):
    """An object's text, "" where there is none."""
    data, _ = self.objects.get(url.removeprefix("gs://"), (b"", 0))
    return data.decode()

  def names(self, prefix):
    prefix = prefix.removeprefix("gs://")
    return sorted(n for n in list(self.objects) if n.startswith(prefix))

  def replace(self, name, data, query):
    """Writes (None: deletes) under the conditions asked for, or says no."""
    with self._lock:
      _, now = self.objects.get(name, (b"", 0))
      if int(query.get("ifGenerationMatch", now)) != now:
        return False
      if data is None:
        del self.objects[name]
      else:
        self._generation += 1
        self.objects[name] = (data, self._generation)
      return True


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def log_message(self, *_):
    pass

  def parse_request(self):
    """Reads a request, and answers it here if it is to fail."""
    if not super().parse_request():
      return False
    status = self.store.fault(self.command, self.asked()[0])
    if status is None:
      return True
    self.rfile.read(int(self.headers.get("Content-Length", 0)))
    self.answer(status, b"a fault")
    return False

  def asked(self):
    """(the object's name or "bucket/", the query)."""
    url = urllib.parse.urlsplit(self.path)
    path = url.path.partition("/storage/v1/b/")[2]
    bucket, _, name = path.partition("/o")
    name = urllib.parse.unquote(name.removeprefix("/"))
    query = dict(urllib.parse.parse_qsl(url.query))
    return f"{bucket}/{name or query.get('name', '')}", query

  def answer(self, status, data=b"", **headers):
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name.replace("_", "-"), str(value))
    self.send_header("Content-Length", str(len(data)))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(data)

  def described(self, name):
    data, generation = self.store.objects[name]
    return {
      "name": name.partition("/")[2],
      "size": str(len(data)),
      "generation": str(generation),
    }

  def do_GET(self):
    name, query = self.asked()
    bucket, _, rest = name.partition("/")
    if "/o" not in self.path.partition("/b/")[2]:
      return self.answer(200, json.dumps({"name": bucket}).encode())
    if not rest:
      prefix = f"{bucket}/{query.get('prefix', '')}"
      found = [self.described(n) for n in self.store.names(prefix)]
      first, end = query.get("startOffset", ""), query.get("endOffset")
      items = [
        item
        for item in found
        if item["name"] >= first and (not end or item["name"] < end)
      ]
      return self.answer(200, json.dumps({"items": items}).encode())
    if name not in self.store.objects:
      return self.answer(404)
    if query.get("alt") != "media":
      return self.answer(200, json.dumps(self.described(name)).encode())
    data, generation = self.store.objects[name]
    if query.get("ifGenerationNotMatch") == str(generation):
      return self.answer(304)
    if query.get("ifGenerationMatch", str(generation)) != str(generation):
      return self.answer(412)
    headers = {"x_goog_generation": generation}
    span = self.headers.get("Range")
    if not span:
      return self.answer(200, data, **headers)
    first, last = span.removeprefix("bytes=").split("-")
    begin = int(first) if first else max(len(data) - int(last), 0)
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    headers["Content_Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return self.answer(206, data[begin:end], **headers)

  def do_POST(self):
    name, query = self.asked()
    data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
    if not self.store.replace(name, data, query):
      return self.answer(412)
    return self.answer(200, json.dumps(self.described(name)).encode())

  def do_DELETE(self):
    name, query = self.asked()
    if name not in self.store.objects:
      return self.answer(404)
    return self.answer(204 if self.store.replace(name, None, query) else 412)


class _Upload(io.BytesIO):
  """Becomes an object when it is closed, and not before."""

  def __init__(self, files, path):
    super().__init__()
    self._files, self._path = files, path

  def close(self):
    if not self.closed:
      data = self.getvalue()
      super().close()  # first: what fails is not tried again
      self._files.put_object(self._path, data)


class _Files(fsspec.AbstractFileSystem):
  protocol = ("gcs", "gs")
  cachable = False

  def _ask(self, method, path, data=None, upload="", **query):
    bucket, _, name = self._strip_protocol(path).partition("/")
    url = f"{os.environ[_ENDPOINT]}{upload}/storage/v1/b/{bucket}/o"
    if upload:
      query["name"] = name
    elif name:
      url += "/" + urllib.parse.quote(name, safe="")
    request = urllib.request.Request(
      f"{url}?{urllib.parse.urlencode(query)}", data, method=method
    )
    try:
      with urllib.request.urlopen(request) as answer:
        return answer.read()
    except urllib.error.HTTPError as error:
      if error.code == 404:
        raise FileNotFoundError(path) from None
      raise

  def put_object(self, path, data):
    self._ask("POST", path, data, "/upload", uploadType="media")

  def _names(self, path):
    bucket, _, prefix = self._strip_protocol(path).partition("/")
    prefix = f"{prefix}/" if prefix else ""
    items = json.loads(self._ask("GET", bucket, prefix=prefix))["items"]
    return bucket, prefix, items

  def ls(self, path, detail=True, **_):
    bucket, prefix, items = self._names(path)
    found = {}
    for item in items:
      child, below, _ = item["name"].removeprefix(prefix).partition("/")
      found[child] = {
        "name": f"{bucket}/{prefix}{child}",
        "type": "directory" if below else "file",
        "size": 0 if below else int(item["size"]),
      }
    if not found:
      raise FileNotFoundError(path)
    return (
      list(found.values()) if detail else [x["name"] for x in found.values()]
    )

  def info(self, path, **_):
    name = self._strip_protocol(path)
    try:
      size = int(json.loads(self._ask("GET", path))["size"])
      return {"name": name, "type": "file", "size": size}
    except (FileNotFoundError, KeyError):
      if not self._names(path)[2]:
        raise FileNotFoundError(path) from None
      return {"name": name, "type": "directory", "size": 0}

  def _open(self, path, mode="rb", **_):
    if mode == "rb":
      return io.BytesIO(self._ask("GET", path, alt="media"))
    if mode == "wb":
      return _Upload(self, path)
    raise NotImplementedError(f"mode {mode!r}: objects are written whole")

  def cp_file(self, path1, path2, **_):
    self.put_object(path2, self._ask("GET", path1, alt="media"))

  def _rm(self, path):
    if self.isfile(path):  # folders are only their objects' names
      self._ask("DELETE", path)

  def mkdir(self, path, **_):
    pass

  def makedirs(self, path, exist_ok=False):
    pass


def install():
  """Has fsspec, and so epath, use the server in the environment."""
  fsspec.register_implementation("gcs", _Files, clobber=True)
  fsspec.register_implementation("gs", _Files, clobber=True)
