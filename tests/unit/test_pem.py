"""Files of TLS that cannot be used: each has a message of its own, for OpenSSL has none."""

import subprocess

import pytest

from tests.support.certificates import certificates
from zeroproxy.config.schema import ServerTls, UpstreamTls
from zeroproxy.errors import TlsError
from zeroproxy.server.tls import prepare_server, prepare_upstream


@pytest.fixture
def pair():
    return certificates().server


def said(tls: ServerTls) -> str:
    with pytest.raises(TlsError) as error:
        prepare_server(tls)
    return str(error.value)


def test_a_missing_file_is_reported_with_the_systems_message(pair):
    assert said(ServerTls(cert="/no/c.pem", key=pair.key)) == (
        "cert: /no/c.pem: cannot be read: No such file or directory"
    )
    assert said(ServerTls(cert=pair.cert, key="/no/k.pem")).startswith("key: /no/k.pem: cannot be")
    assert "client_ca: /no/a.pem: cannot be read" in said(
        ServerTls(cert=pair.cert, key=pair.key, client_ca="/no/a.pem")
    )
    with pytest.raises(TlsError, match=r"ca: /no/a\.pem: cannot be read: No such file"):
        prepare_upstream(UpstreamTls(ca="/no/a.pem"))


def test_a_directory_a_swapped_pair_and_a_file_that_is_no_pem_are_reported(pair, tmp_path):
    assert said(ServerTls(cert=str(tmp_path), key=pair.key)).endswith(
        "cannot be read: Is a directory"
    )
    assert (
        said(ServerTls(cert=pair.key, key=pair.cert)) == f"cert: {pair.key}: is no PEM certificate"
    )
    assert said(ServerTls(cert=pair.cert, key=pair.cert)) == (
        f"key: {pair.cert}: is no PEM private key"
    )
    (tmp_path / "x").write_bytes(b"\x30\x82")
    assert said(ServerTls(cert=str(tmp_path / "x"), key=pair.key)).endswith("is no PEM certificate")


@pytest.mark.parametrize("form", [("pkcs8", "-topk8"), ("rsa", "-aes128")], ids=lambda f: f[0])
def test_a_key_with_a_password_is_reported(form, pair, tmp_path):
    plain, locked = tmp_path / "plain.pem", tmp_path / "locked.pem"
    subprocess.run(["openssl", "genrsa", "-out", plain, "2048"], check=True, capture_output=True)
    subprocess.run(
        ["openssl", *form, "-in", plain, "-out", locked, "-passout", "pass:secret",
         *(["-traditional"] if form[0] == "rsa" else [])],
        check=True, capture_output=True,
    )  # fmt: skip
    assert said(ServerTls(cert=pair.cert, key=str(locked))) == (
        f"key: {locked}: is protected by a password; keys have to be without one "
        "(openssl pkey -in KEY -out PLAIN)"
    )


def test_files_that_fit_are_taken(pair):
    assert prepare_server(ServerTls(cert=pair.cert, key=pair.key)).context.expires
