"""Servers on this machine that files are fetched from: HTTP, HTTPS, SFTP, likenesses of S3 and GS.

A test module names the fixtures that it uses in its `__all__`, with `of_nobody` among them.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Ssh, Web, ssh, web

from phonon_bulk.source.formats import remote


@pytest.fixture(autouse=True)
def of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let there be no keys, agents, proxies and settings but those of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SSH_AUTH_SOCK", "SSL_CERT_FILE", "https_proxy", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for 127.0.0.1 that nobody vouches for, with its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "2", "-subj", "/CN=x"]
    command += [
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run([*command, *files], check=True, capture_output=True, timeout=60)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def https(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """Serve HTTPS, by a server that is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with web(certificate) as site:
        yield site


@pytest.fixture
def http() -> Iterator[Web]:
    """Serve HTTP."""
    with web() as site:
        yield site


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Ssh]:
    """Serve SFTP, by a server whose key is known, and which knows the user's."""
    with ssh() as site:
        folder = tmp_path / ".ssh"
        folder.mkdir()
        site.user_key.write_private_key_file(str(folder / "id_ecdsa"))
        know(folder, site)
        yield site


def know(folder: Path, site: Ssh) -> None:
    """Let the key of a server be known."""
    key = f"{site.host_key.get_name()} {site.host_key.get_base64()}"
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{site.port} {key}\n")


@pytest.fixture
def s3(http: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """Let a server stand in for S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", http.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return http


@pytest.fixture
def gs(http: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """Let a server stand in for Google's."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", http.url)
    monkeypatch.setattr(remote, "STALLED_SECONDS", 1)
    return http
