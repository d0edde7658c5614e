"""Files come from the mirror or over a bad line, and archives are not trusted."""

import hashlib
import io
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from frugalvit.data import download
from frugalvit.data.archives import extract_archive
from frugalvit.data.download import fetch_file
from frugalvit.errors import DataError

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes, more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file; each request may be told to go wrong."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.ranges = True
        # Per request: ("status", n), ("cut", bytes sent before the line breaks), ("stall", as many
        # before nothing more comes) or ("lie", by how many bytes the length that it tells is too short).
        self.faults = []
        self.stalled = threading.Event()  # set: no longer
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/files/data.bin?key=secret"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        fault, amount = server.faults.pop(0) if server.faults else (None, 0)
        if fault == "status":
            self.send_error(amount)
            return
        asked = self.headers.get("Range")
        fresh = self.headers.get("If-Range") in (None, server.etag)
        start = int(asked[6:-1]) if asked and server.ranges and fresh else 0
        total = len(server.content)
        if start >= total and start:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        short = amount if fault == "lie" else 0
        self.send_header("Content-Length", str(total - start - short))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        end = start + amount if fault in ("cut", "stall") else total
        self.wfile.write(server.content[start:end])
        if fault == "stall":
            self.wfile.flush()
            server.stalled.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "BACK_OFF", 0.0)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stalled.set()
    server.shutdown()
    server.server_close()
    thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_broken_download_continues_where_it_stopped(server, tmp_path):
    server.faults = [("cut", 300_000)]
    path = fetch_file("data.bin", server.url, tmp_path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    assert len(server.requests) == 2
    assert server.requests[1]["Range"] == "bytes=300000-"
    assert server.requests[1]["If-Range"] == '"one"'


def test_a_server_that_stalls_is_left_and_asked_for_the_rest(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (30, 2.0))
    server.faults = [("stall", 300_000)]
    path = fetch_file("data.bin", server.url, tmp_path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert "Range" in server.requests[-1]
    server.faults = [("stall", 1000)]
    with pytest.raises(DataError, match=r"failed 1 times \(.*bytes so far\); run again") as error:
        fetch_file("data.bin", server.url, tmp_path / "other", sha256=SHA256, retries=0)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "other" / "data.bin").exists()


def test_a_server_that_lies_about_the_length(server, tmp_path):
    server.faults = [("lie", 1000)]
    with pytest.raises(
        DataError, match=r"its sha256 is .*; the file was deleted, check the address"
    ):
        fetch_file("data.bin", server.url, tmp_path, sha256=SHA256)
    assert names(tmp_path) == []
    assert fetch_file("data.bin", server.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT


def test_a_page_in_place_of_the_file(server, tmp_path):
    server.content = b"<!DOCTYPE html><title>Log in</title>" * 50
    with pytest.raises(DataError, match=r"its sha256 is .*; the file was deleted"):
        fetch_file("data.bin", server.url, tmp_path, sha256=SHA256)
    assert names(tmp_path) == []
    archive = fetch_file("photos.zip", server.url, tmp_path)  # nobody told its checksum
    with pytest.raises(DataError) as error:
        extract_archive(archive, tmp_path / "photos")
    assert str(error.value).startswith(f"{archive}: ")
    assert names(tmp_path) == ["photos.zip"]


def test_a_later_call_continues_what_an_earlier_one_left(server, tmp_path):
    server.faults = [("cut", 1000)]
    with pytest.raises(DataError, match="failed 1 times"):
        fetch_file("data.bin", server.url, tmp_path, sha256=SHA256, retries=0)
    assert not (tmp_path / "data.bin").exists()
    assert fetch_file("data.bin", server.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == "bytes=1000-"


def test_a_whole_part_is_only_checked(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    saved = f'{{"url": "{server.url}", "validator": "\\"one\\""}}'
    (tmp_path / "data.bin.part.json").write_text(saved)
    fetch_file("data.bin", server.url, tmp_path, sha256=SHA256)
    assert names(tmp_path) == ["data.bin"]
    assert len(server.requests) == 1


def test_a_server_without_ranges_starts_anew(server, tmp_path):
    server.ranges = False
    server.faults = [("cut", 300_000)]
    assert fetch_file("data.bin", server.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ['"two"', None, 'W/"weak"'])
def test_old_bytes_are_never_joined_to_another_version(server, tmp_path, etag):
    server.faults = [("cut", 1000)]
    server.etag = etag if etag != '"two"' else '"one"'
    with pytest.raises(DataError):
        fetch_file("data.bin", server.url, tmp_path, retries=0)
    server.content, server.etag = CONTENT[::-1], etag
    assert fetch_file("data.bin", server.url, tmp_path).read_bytes() == CONTENT[::-1]


def test_temporary_server_errors_are_retried(server, tmp_path):
    server.faults = [("status", 503), ("status", 429)]
    assert fetch_file("data.bin", server.url, tmp_path, sha256=SHA256).exists()
    assert len(server.requests) == 3


def test_retries_end_with_one_line(server, tmp_path):
    server.faults = [("status", 503)] * 9
    with pytest.raises(DataError, match=r"failed 3 times \(the server answered 503\)") as caught:
        fetch_file("data.bin", server.url, tmp_path, retries=2)
    assert len(server.requests) == 3
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    server.faults = [("status", 404)] * 5
    with pytest.raises(DataError, match="404"):
        fetch_file("data.bin", server.url, tmp_path)
    assert len(server.requests) == 1


def test_a_wrong_checksum_leaves_no_file(server, tmp_path):
    with pytest.raises(DataError, match="expected " + "0" * 64 + "; the file was deleted"):
        fetch_file("data.bin", server.url, tmp_path, sha256="0" * 64)
    assert names(tmp_path) == []
    assert len(server.requests) == 1


def test_no_server_is_a_plain_error(tmp_path, server):
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="put the file into the mirror"):
        fetch_file("data.bin", url, tmp_path, retries=1)


def test_the_mirror_comes_first(server, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "data.bin").write_bytes(CONTENT)
    path = fetch_file("data.bin", server.url, tmp_path / "raw", sha256=SHA256, mirror=mirror)
    assert path.read_bytes() == CONTENT
    assert server.requests == []


def test_a_wrong_file_in_the_mirror_is_passed_over(server, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "data.bin").write_bytes(b"stale")
    path = fetch_file("data.bin", server.url, tmp_path / "raw", sha256=SHA256, mirror=mirror)
    assert path.read_bytes() == CONTENT
    with pytest.raises(DataError, match="not used"):
        fetch_file("data.bin", None, tmp_path / "other", sha256=SHA256, mirror=mirror)
    assert (mirror / "data.bin").read_bytes() == b"stale"


def test_a_file_that_is_there_is_checked_before_use(server, tmp_path):
    (tmp_path / "data.bin").write_bytes(CONTENT)
    fetch_file("data.bin", server.url, tmp_path, sha256=SHA256)
    assert server.requests == []
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    assert fetch_file("data.bin", server.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["../data.bin", "/etc/data.bin", "a/b", "..", ""])
def test_a_name_cannot_leave_its_folder(tmp_path, name):
    with pytest.raises(DataError, match="plain file name"):
        fetch_file(name, "http://127.0.0.1:9/x", tmp_path)


def test_only_http_is_fetched(tmp_path):
    (tmp_path / "source").write_text("x")
    with pytest.raises(DataError, match="not an http"):
        fetch_file("x", f"file://{tmp_path}/source", tmp_path)


def tar_with(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, kind, detail in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(detail)
                archive.addfile(info, io.BytesIO(detail))
            else:
                info.linkname = detail
                archive.addfile(info)
    return path


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([("../evil", FILE, b"x")], "leaves the folder"),
        ([("a/../../evil", FILE, b"x")], "leaves the folder"),
        ([("/tmp/evil", FILE, b"x")], "absolute"),
        ([("..\\evil", FILE, b"x")], "leaves the folder"),
        ([("C:\\evil", FILE, b"x")], "absolute"),
        ([("link", LINK, "/etc")], "is a link"),
        ([("link", LINK, "good")], "is a link"),
        ([("link", HARD, "good")], "is a link"),
        ([("link", HARD, "../outside")], "is a link"),
        ([("a", LINK, "."), ("b", LINK, "a/.."), ("b/evil", FILE, b"x")], "is a link"),
        ([("pipe", tarfile.FIFOTYPE, "")], "device or pipe"),
        ([("disk", tarfile.BLKTYPE, "")], "device or pipe"),
    ],
)
def test_a_malicious_tar_writes_nothing(tmp_path, members, reason):
    archive = tar_with(tmp_path / "evil.tar", ("good", FILE, b"x"), *members)
    with pytest.raises(DataError, match=reason) as caught:
        extract_archive(archive, tmp_path / "out" / "data")
    assert "evil.tar" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
    assert names(tmp_path) == ["evil.tar", "out"]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil"])
def test_a_malicious_zip_writes_nothing(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("good", "x")
        archive.writestr(name, "x")
    with pytest.raises(DataError, match=r"leaves the folder|absolute"):
        extract_archive(tmp_path / "evil.zip", tmp_path / "out" / "data")
    assert names(tmp_path) == ["evil.zip", "out"]
    assert names(tmp_path / "out") == []


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        extract_archive(tmp_path / "evil.zip", tmp_path / "data")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("frugalvit.data.archives.ALWAYS_ALLOWED", 100_000)
    path = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(5_000_000))
    else:
        tar_with(path, ("zeros", FILE, bytes(5_000_000)), mode="w:gz")
    with pytest.raises(DataError, match="bomb"):
        extract_archive(path, tmp_path / "data")


def whole_archives(folder):
    members = [(f"a/{number}.bin", FILE, bytes([number]) * 700) for number in range(20)]
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz")):
        tar_with(folder / f"whole.{suffix}", *members, mode=mode)
    with zipfile.ZipFile(folder / "whole.zip", "w") as archive:
        for name, _, content in members:
            archive.writestr(name, content)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "zip"])
def test_a_whole_archive_replaces_the_folder(tmp_path, suffix):
    whole_archives(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").touch()
    extract_archive(tmp_path / f"whole.{suffix}", tmp_path / "data")
    assert names(tmp_path / "data") == ["a"]
    assert (tmp_path / "data" / "a" / "7.bin").read_bytes() == bytes([7]) * 700
    assert len(names(tmp_path / "data" / "a")) == 20


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "zip"])
def test_an_archive_cut_anywhere_is_refused_in_one_line(tmp_path, suffix):
    whole_archives(tmp_path)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    broken = tmp_path / f"broken.{suffix}"
    # A plain tar ends with padding whose loss loses nothing.
    end = len(content) if suffix != "tar" else 20 * 1536
    cuts = {0, 1, 100, 512, 1024, 1536, end // 2, end // 2 + 13, end - 1}
    for size in sorted(cut for cut in cuts if cut < end):
        broken.write_bytes(content[:size])
        with pytest.raises(DataError) as caught:
            extract_archive(broken, tmp_path / "out" / "data")
        assert "\n" not in str(caught.value)
        assert f"broken.{suffix}" in str(caught.value)
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("kind", [LINK, HARD])
def test_no_chain_of_links_reaches_a_file_outside(tmp_path, monkeypatch, kind, relative):
    """Steps up that a longer path than the system takes would hide from who resolves it."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    before = victim.stat()
    deep = "/".join(["d" * 200] * 19)  # below 4,096 bytes by itself, above under an absolute folder
    steps = [("s0", LINK, "."), *((f"s{n}", LINK, f"s{n - 1}/..") for n in range(1, 6))]
    archive = tar_with(
        tmp_path / "evil.tar",
        *((deep[: 201 * n + 200], tarfile.DIRTYPE, "") for n in range(19)),
        *((f"{deep}/{name}", entry, target) for name, entry, target in steps),
        (f"{deep}/reach", kind, f"{deep}/s5/victim"),
    )
    monkeypatch.chdir(tmp_path)
    target = "out/data" if relative else tmp_path / "out" / "data"
    with pytest.raises(DataError) as caught:
        extract_archive(archive, target)
    assert "\n" not in str(caught.value)
    after = victim.stat()
    assert victim.read_text() == "mine"
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_nlink,
    )
    assert names(tmp_path / "out") == []
    assert names(tmp_path) == ["evil.tar", "out", "victim"]


def test_a_zip_of_windows_has_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "photos\\rose\\1.png"  # as PowerShell writes it
        archive.writestr(info, "1")
    extract_archive(tmp_path / "a.zip", tmp_path / "data")
    assert (tmp_path / "data" / "photos" / "rose" / "1.png").read_text() == "1"


def test_names_in_utf8_without_the_flag(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("caf\u00e9/1.png", "1")
    content = path.read_bytes()
    flagged = (0x800).to_bytes(2, "little")
    path.write_bytes(content.replace(b"\x14\x00" + flagged, b"\x14\x00\x00\x00"))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() != ["caf\u00e9/1.png"], "Python takes it for cp437"
    extract_archive(path, tmp_path / "data")
    assert names(tmp_path / "data") == ["caf\u00e9"]


def test_a_zip_member_without_a_name(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = info.orig_filename = ""
        archive.writestr(info, "1")
    with pytest.raises(DataError, match="has no name"):
        extract_archive(path, tmp_path / "data")


@pytest.mark.parametrize("date", ["inf", "nan", "-1e300", "1e300"])
def test_dates_that_no_file_can_have_are_not_kept(tmp_path, date):
    info = tarfile.TarInfo("a/one")
    info.size = 1
    info.pax_headers = {"mtime": date}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"1"))
    extract_archive(tmp_path / "a.tar", tmp_path / "data")
    assert (tmp_path / "data" / "a" / "one").read_bytes() == b"1"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_is_not_read_however_long_it_says_it_is(tmp_path, kind):
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 2 << 20
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(3 << 20))
    with pytest.raises(DataError, match="header of more than"):
        extract_archive(tmp_path / "a.tar", tmp_path / "data")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"Rar!\x1a\x07\x01\x00", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
    ],
)
def test_archives_that_are_not_read_are_told_from_broken_ones(tmp_path, start, kind):
    (tmp_path / "a.bin").write_bytes(start + bytes(600))
    with pytest.raises(DataError, match=f"{kind}.*unpack it") as caught:
        extract_archive(tmp_path / "a.bin", tmp_path / "data")
    assert "cut short" not in str(caught.value)


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "page.tar").write_text("<html>Not found</html>")
    with pytest.raises(DataError, match="neither a tar nor a zip"):
        extract_archive(tmp_path / "page.tar", tmp_path / "data")
