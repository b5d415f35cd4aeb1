"""A local model hub: the part of the Hugging Face hub's protocol that downloads and uploads use."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(ThreadingHTTPServer):
    """Serves `repos`: {repository: {file name: content}}.

    Attributes:
        log: (method, file name, Range header) of each request for a file.
        tokens: the Authorization header of each request, or None.
        cut_after: file name -> bytes after which a GET breaks off, once.
        promised: file name -> SHA-256 to promise instead of the true one.
        refuse: status code to answer everything with.
        refusal: the body of that answer.
        listed: entries of a repository's list that are added to those of its files, or replace one of the same name.
        sha: the commit that is named.
        answer: bytes to send instead of a repository's list.
        sent: file name -> pieces to send as its content, without a stated length; may be endless.
        moved: file name -> address to send on to.
        silent: whether nothing is ever answered.
        writers: tokens that may write.
        private: repository -> whether it was made private.
        stored: SHA-256 -> content of each large file that was sent.
        broken_puts: number of next large files whose transfer fails.
    """

    daemon_threads = True

    def __init__(self, repos: dict[str, dict[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos = repos
        self.log: list[tuple[str, str, str | None]] = []
        self.cut_after: dict[str, int] = {}
        self.promised: dict[str, str] = {}
        self.refuse: int | None = None
        self.tokens: list[str | None] = []
        self.refusal = b"refused"
        self.listed: list[dict[str, Any]] = []
        self.sha: Any = COMMIT
        self.answer: bytes | None = None
        self.sent: dict[str, Iterable[bytes]] = {}
        self.moved: dict[str, str] = {}
        self.silent = False
        self.ended = threading.Event()
        self.writers: set[str] = set()
        self.private: dict[str, bool] = {}
        self.stored: dict[str, bytes] = {}
        self.broken_puts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Silence: readers that go away in the middle belong to the tests."""

    def sha256(self, name: str, content: bytes) -> str:
        return self.promised.get(name, hashlib.sha256(content).hexdigest())


@contextmanager
def serve(repos: dict[str, dict[str, bytes]]) -> Iterator[FakeHub]:
    hub = FakeHub(repos)
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        hub.shutdown()
        hub.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(self.path.partition("?")[0]).strip("/").split("/")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.server.refuse:
            self._send(self.server.refuse, self.server.refusal, {})
        elif path == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif token not in self.server.writers:
            self._send(403 if token else 401, b"{}", {})
        elif path == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif path[-2] == "preupload":
            files = json.loads(body)["files"]
            modes = [{**file, "uploadMode": "lfs" if "safetensors" in file["path"] else "regular"} for file in files]
            self._json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        elif path[-1] == "batch":
            self._json({"transfer": "basic", "objects": [self._target(each) for each in json.loads(body)["objects"]]})
        elif path[-2] == "commit":
            self._commit("/".join(path[2:4]), [json.loads(line) for line in body.splitlines()])
        else:
            self._send(404, b"{}", {})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.broken_puts:
            self.server.broken_puts -= 1
            return self._send(500, b"", {})
        self.server.stored[self.path.rpartition("/")[2]] = content
        return self._send(200, b"", {})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'user'}/{asked['name']}"
        known = name in self.server.repos
        if not known:
            self.server.repos[name] = {}
            self.server.private[name] = asked.get("private", asked.get("visibility") == "private")
        self._json({"url": f"{self.server.url}/{name}", "name": name, "id": "1"}, 409 if known else 200)

    def _target(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Where a large file is to be sent; nowhere if it is here."""
        if stored["oid"] in self.server.stored:
            return stored
        return {**stored, "actions": {"upload": {"href": f"{self.server.url}/lfs/{stored['oid']}", "header": {}}}}

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = self.server.repos[repo]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
        url = f"{self.server.url}/{repo}/commit/{COMMIT}"
        self._json({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def _tree(self, repo: str) -> None:
        """The files of a repository, as uploads ask for them."""
        entries = []
        for name, content in self.server.repos[repo].items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": "b" * 40}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"oid": self.server.sha256(name, content), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self._json(entries)

    def _json(self, answer: Any, status: int = 200) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _answer(self, with_body: bool) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/").split("/")
        self.server.tokens.append(self.headers.get("Authorization"))
        if self.server.silent:
            self.server.ended.wait()
        elif self.server.refuse:
            code = {404: {"X-Error-Code": "RepoNotFound"}}.get(self.server.refuse, {})
            self._send(self.server.refuse, self.server.refusal, code)
        elif path[:2] == ["api", "models"] and path[4:5] == ["tree"]:
            self._tree("/".join(path[2:4]))
        elif path[:2] == ["api", "models"]:
            self._model(path[2:])
        elif len(path) > 4 and path[2] == "resolve":
            self._file("/".join(path[:2]), "/".join(path[4:]), with_body)
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _model(self, path: list[str]) -> None:
        files = self.server.repos.get("/".join(path[:2]))
        if files is None:
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if self.server.answer is not None:
            return self._send(200, self.server.answer, {"Content-Type": "application/json"})
        siblings = []
        for name, content in files.items():
            entry: dict = {"rfilename": name, "size": len(content), "blobId": "b" * 40}
            if name.endswith(".safetensors"):
                digest = self.server.sha256(name, content)
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        changed = [entry.get("rfilename") for entry in self.server.listed[:9]]
        siblings = [entry for entry in siblings if entry["rfilename"] not in changed] + self.server.listed
        name = "/".join(path[:2])
        answer = {"id": name, "modelId": name, "sha": self.server.sha, "siblings": siblings}
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, name: str, with_body: bool) -> None:
        content = self.server.repos.get(repo, {}).get(name)
        requested = self.headers.get("Range")
        self.server.log.append((self.command, name, requested))
        if name in self.server.moved:
            return self._send(302, b"", {"Location": self.server.moved[name]})
        if name in self.server.sent:
            return self._stream(self.server.sent[name])
        if content is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        start = int(requested.removeprefix("bytes=").partition("-")[0]) if requested else 0
        if requested:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._send(206 if requested else 200, content[start:], headers, with_body, self._cut(name))

    def _stream(self, pieces: Iterable[bytes]) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):  # the reader has had enough
            for piece in pieces:
                self.wfile.write(piece)

    def _cut(self, name: str) -> int | None:
        return self.server.cut_after.pop(name, None) if self.command == "GET" else None

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], with_body: bool = True, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body and self.command != "HEAD":
            self.wfile.write(body[:cut])
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Silence."""
