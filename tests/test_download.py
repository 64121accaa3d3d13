"""Downloads from a server on this machine that misbehaves on demand."""

import contextlib
import hashlib
import http.server
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tinytl.data import __main__ as command
from tinytl.data import download as module
from tinytl.data import fetch
from tinytl.data.download import download
from tinytl.data.official import OFFICIAL, OfficialFile, how_to_get

CONTENT = bytes(range(256)) * 4000  # about a megabyte


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the next of the server's plans, and the last one for ever."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        plans = self.server.plans
        (plans.pop(0) if len(plans) > 1 else plans[0])(self)

    def log_message(self, *_):
        pass

    def send(self, status, body, headers=(), length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if length != "unknown":
            self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client had enough
            self.wfile.write(body)

    def start(self):
        """First byte that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        return int(found[1]) if found else 0


def good(handler):
    """A server that knows Range."""
    start = handler.start()
    if not start:
        return handler.send(200, CONTENT)
    if start >= len(CONTENT):
        return handler.send(416, b"", [("Content-Range", f"bytes */{len(CONTENT)}")])
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    return handler.send(206, CONTENT[start:], [("Content-Range", span)])


def without_range(handler):
    handler.send(200, CONTENT)


def cut_off(handler):
    """Promise all, send a third."""
    start = handler.start()
    body = CONTENT[start : start + len(CONTENT) // 3]
    if start:
        span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        handler.send(206, body, [("Content-Range", span)], len(CONTENT) - start)
    else:
        handler.send(200, body, length=len(CONTENT))


def cut_off_without_length(handler):
    handler.send(200, CONTENT[:1000], length="unknown")


def wrong_bytes(handler):
    handler.send(200, CONTENT[:-1] + b"x")


def too_much(handler):
    handler.send(200, CONTENT + b"x")


def endless(handler):
    handler.send(200, CONTENT + CONTENT, length="unknown")


def another_part(handler):
    span = f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"
    handler.send(206, CONTENT[5:], [("Content-Range", span)])


def error(status, *headers):
    return lambda handler: handler.send(status, b"no", headers)


@pytest.fixture
def server(monkeypatch):
    """A server; its `plans` say what it does next, its `requests` what was asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.plans, running.requests = [good], []
    running.url = f"http://127.0.0.1:{running.server_port}/file.bin"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def file(server):
    digests = (hashlib.new(kind, CONTENT).hexdigest() for kind in ("md5", "sha256"))
    md5, sha256 = digests
    return OfficialFile("file.bin", server.url, md5, len(CONTENT), sha256)


@pytest.fixture
def get(file, tmp_path):
    """Download into an empty folder without waiting."""
    waits = []

    def run(changed=file, **options):
        path = tmp_path / "file.bin"
        return download(changed, path, False, wait=waits.append, **options)

    run.waits = waits
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_arrives_is_complete_and_in_its_place(get, server, tmp_path):
    assert get().read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]
    assert get().read_bytes() == CONTENT
    assert len(server.requests) == 1  # the second time it was there


@pytest.mark.parametrize("known", [True, False])
def test_a_connection_that_breaks_is_taken_up_there(get, file, server, known):
    server.plans = [cut_off, cut_off, good]
    file = file if known else replace(file, size=None, sha256=None)
    assert get(file).read_bytes() == CONTENT
    third = len(CONTENT) // 3
    ranges = [None, f"bytes={third}-", f"bytes={2 * third}-"]
    assert [asked for _, asked in server.requests] == ranges
    assert get.waits == [1, 2]


def test_a_server_without_range_starts_anew(get, server):
    server.plans = [cut_off, without_range]
    assert get().read_bytes() == CONTENT
    assert server.requests[1][1] is not None


def test_what_an_earlier_run_left_is_used(get, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:777])
    assert get().read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["bytes=777-"]
    assert names(tmp_path) == ["file.bin"]


def test_a_complete_part_is_not_asked_for_again(get, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("left", [b"rubbish", b"r" * len(CONTENT), CONTENT + b"more"])
def test_a_spoilt_part_is_thrown_away(get, tmp_path, left):
    (tmp_path / "file.bin.part").write_bytes(left)
    assert get().read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_giving_up_keeps_what_arrived(get, server, tmp_path):
    server.plans = [cut_off, error(503)]
    with pytest.raises(ConnectionError, match=r"503.*bytes are kept in .*\.part"):
        get(tries=3)
    assert names(tmp_path) == ["file.bin.part"]
    assert get.waits == [1, 2]
    server.plans = [good]
    assert get().read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (wrong_bytes, "has the MD5 .* instead of"),
        (too_much, "has 1,024,001 bytes instead of 1,024,000"),
        (endless, "goes on after the 1,024,000 bytes"),
    ],
)
def test_other_contents_are_refused_and_not_kept(get, server, tmp_path, plan, message):
    server.plans = [plan]
    with pytest.raises(ValueError, match=message) as caught:
        get()
    assert "Nothing was kept" in str(caught.value)
    assert server.url in str(caught.value)
    assert names(tmp_path) == []


def test_a_wrong_sha256_is_noticed_too(get, file, tmp_path):
    with pytest.raises(ValueError, match="has the SHA256 .* instead of 0000"):
        get(replace(file, sha256="0" * 64))
    assert names(tmp_path) == []


def test_a_cut_that_only_the_checksum_shows(get, file, server, tmp_path):
    server.plans = [cut_off_without_length]
    with pytest.raises(ValueError, match="has the MD5"):
        get(replace(file, size=None))
    assert names(tmp_path) == []


def test_without_any_length_there_is_a_limit(get, file, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 500_000)
    server.plans = [endless]
    with pytest.raises(ValueError, match="goes on after the 500,000 bytes"):
        get(replace(file, size=None))
    assert names(tmp_path) == []


def test_another_part_than_asked_for(get, server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:777])
    server.plans = [another_part]
    with pytest.raises(ValueError, match="another part than the one asked for"):
        get(tries=1)
    assert names(tmp_path) == []
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:777])
    server.plans = [another_part, good]  # thrown away, and from the beginning
    assert get().read_bytes() == CONTENT


def test_redirections_are_followed_to_http_alone(get, server, tmp_path):
    server.plans = [error(302, ("Location", "/elsewhere")), good]
    assert get().read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/file.bin", "/elsewhere"]
    (tmp_path / "file.bin").unlink()
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        server.plans = [error(302, ("Location", target))]
        with pytest.raises(ConnectionError):
            get(tries=2)
    server.plans = [error(302, ("Location", "/file.bin"))]
    with pytest.raises(ConnectionError, match="302"):
        get()
    assert names(tmp_path) == []


def test_what_is_not_there_is_asked_for_once(get, server, tmp_path):
    server.plans = [error(404)]
    with pytest.raises(ConnectionError, match=r"file\.bin: HTTP Error 404"):
        get()
    assert len(server.requests) == 1
    assert names(tmp_path) == []
    assert get.waits == []


def test_nobody_answers(file, tmp_path):
    closed = replace(file, url="http://127.0.0.1:9/file.bin")
    waits = []
    with pytest.raises(ConnectionError, match="127.0.0.1:9/file"):
        download(closed, tmp_path / "file.bin", False, tries=4, wait=waits.append)
    assert waits == [1, 2, 4]
    with pytest.raises(ValueError, match="tries = 0"):
        download(closed, tmp_path / "file.bin", False, tries=0)


def test_a_file_that_is_there_and_differs_is_left_alone(get, server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"mine")
    with pytest.raises(
        ValueError, match="has 4 bytes instead .*move it away or delete"
    ):
        get()
    assert (tmp_path / "file.bin").read_bytes() == b"mine"
    assert server.requests == []


def test_the_bar_shows_where_it_starts(file, server, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tqdm", reason="needs tqdm")
    (tmp_path / "file.bin.part").write_bytes(CONTENT[: len(CONTENT) // 2])
    download(file, tmp_path / "file.bin")
    shown = capsys.readouterr().err
    assert "file.bin" in shown
    assert "50%" in shown
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it weren't installed
    (tmp_path / "file.bin").unlink()
    download(file, tmp_path / "file.bin")
    assert capsys.readouterr().err == ""


# -- data sets -------------------------------------------------------------------------


def test_fetch_gets_all_files_of_a_set(file, server, tmp_path, monkeypatch):
    second = replace(file, name="second.bin", url=server.url + "2")
    monkeypatch.setitem(OFFICIAL, "mnist", (file, second))
    paths = fetch("mnist", tmp_path / "new" / "folder", progress=False)
    assert [path.name for path in paths] == ["file.bin", "second.bin"]
    assert all(path.read_bytes() == CONTENT for path in paths)
    with pytest.raises(ValueError, match="fetch: 'imagenet' is none of cifar-10, "):
        fetch("imagenet", tmp_path)


def test_the_command(file, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(OFFICIAL, "stl-10", (file,))
    assert command.main(["stl-10", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "file.bin")
    (tmp_path / "file.bin").write_bytes(b"other")
    assert command.main(["stl-10", str(tmp_path)]) == 1
    assert "move it away" in capsys.readouterr().err


def test_the_command_can_be_called_and_explains_itself():
    call = [sys.executable, "-W", "error", "-m", "tinytl.data", "--help"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in OFFICIAL)


def test_the_table_is_well_formed():
    for dataset, files in OFFICIAL.items():
        text = how_to_get(dataset, "data")
        for file in files:
            assert re.fullmatch(r"[0-9a-f]{32}", file.md5)
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
            assert file.url.startswith(("http://", "https://"))
            assert file.url.endswith("/" + file.name)
            assert file.url in text
        assert f"python -m tinytl.data {dataset} data" in text
    md5s = [file.md5 for files in OFFICIAL.values() for file in files]
    assert len(set(md5s)) == len(md5s) == 13


def test_import_opens_no_connection():
    code = (
        "import sys; seen = []\n"
        "sys.addaudithook(lambda name, a: seen.append(name))\n"
        "import tinytl.data\n"
        "assert not [n for n in seen if n.startswith(('socket.', 'urllib.'))], seen"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
