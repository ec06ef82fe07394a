"""A stand-in of the Hugging Face hub's HTTP interface, on the loopback alone.

It has what pushing and fetching a model need: creating a repository, the check of a
card's head, upload by Git LFS, commits, and files with their metadata.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_the_test"


class StandInHub(ThreadingHTTPServer):
    """Repositories in memory: name -> {"private": bool, "commits": [{path: bytes}]}."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.large, self.asked = {}, {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self, name: str) -> dict[str, bytes]:
        """Return the files of a repository's newest commit."""
        return self.repositories[name]["commits"][-1]

    def commit_of(self, name: str) -> str:
        """Return the digest that stands for a repository's newest commit."""
        commits = self.repositories[name]["commits"]
        return hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Print nothing."""

    def answer(self, content, status=200, **headers):
        """Send JSON or bytes."""
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        """Return what was sent, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def is_known(self) -> bool:
        """Tell whether who asks has the token; answer if not."""
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self.answer({"error": "Invalid username or password."}, 401)
        return False

    def do_POST(self):
        """Create, check, prepare an upload, or commit."""
        hub, content = self.server, self.body()
        hub.asked.append(self.path)
        if self.path == "/api/validate-yaml":
            has_license = "license:" in json.loads(content)["content"]
            errors = [] if has_license else [{"message": "no license"}]
            return self.answer(
                {"errors": errors, "warnings": []}, 400 if errors else 200
            )
        if not self.is_known():
            return None
        if self.path == "/api/repos/create":
            return self.create(json.loads(content))
        name, action = re.match(
            r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git/info)?/(.*)", self.path
        ).groups()
        if action == "preupload/main":
            files = json.loads(content)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            return self.answer({"files": modes})
        if action == "lfs/objects/batch":
            objects = [
                {
                    **item,
                    "actions": {"upload": {"href": f"{hub.url}/lfs/{item['oid']}"}},
                }
                for item in json.loads(content)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        assert action == "commit/main", self.path
        return self.commit(name, content)

    def create(self, asked: dict):
        """Make a repository."""
        hub = self.server
        name = f"{asked['organization']}/{asked['name']}"
        reply = {"url": f"{hub.url}/{name}", "name": name}
        if name in hub.repositories:
            return self.answer({**reply, "error": "You already created it"}, 409)
        is_private = bool(asked.get("private") or asked.get("visibility") == "private")
        hub.repositories[name] = {"private": is_private, "commits": [{}]}
        return self.answer(reply)

    def commit(self, name: str, content: bytes):
        """Add files to a repository."""
        hub = self.server
        files = dict(hub.files(name))
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub.large[value["oid"]]
        hub.repositories[name]["commits"].append(files)
        oid = hub.commit_of(name)
        url = f"{hub.url}/{name}/commit/{oid}"
        return self.answer({"success": True, "commitOid": oid, "commitUrl": url})

    def do_PUT(self):
        """Take a large file."""
        content = self.body()
        oid = hashlib.sha256(content).hexdigest()
        if self.path != f"/lfs/{oid}":
            return self.answer({"error": "another file"}, 422)
        self.server.large[oid] = content
        return self.answer({})

    def do_GET(self):
        """Describe a repository, or send a file of its newest commit."""
        hub = self.server
        info = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/\w+)?", self.path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", self.path)
        name = (info or file)[1]
        if name not in hub.repositories:
            return self.answer({}, 404, X_Error_Code="RepoNotFound")
        repository = hub.repositories[name]
        if repository["private"] and not self.is_known():
            return None
        if info:
            siblings = [{"rfilename": path} for path in hub.files(name)]
            known = {"id": name, "sha": hub.commit_of(name), "siblings": siblings}
            return self.answer({**known, "private": repository["private"]})
        if file[2] not in hub.files(name):
            return self.answer({}, 404, X_Error_Code="EntryNotFound")
        content = hub.files(name)[file[2]]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.answer(content, ETag=etag, X_Repo_Commit=hub.commit_of(name))

    def do_HEAD(self):
        """Answer as to GET, without content."""
        self.do_GET()


def is_large(path: str) -> bool:
    """Tell whether the hub keeps a file by Git LFS."""
    return path.endswith((".safetensors", ".model"))
