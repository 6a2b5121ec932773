"""The tag of a token: SipHash-2-4 with 128 bits."""

import shutil
import subprocess

import pytest

from tests.probes import keys as probe

SECRET = bytes(range(16))


def test_the_tag_is_siphash_2_4_with_128_bits():
    """The first of the vectors of its authors."""
    assert probe.siphash(b"", SECRET).hex() == "a3817f04ba25a8e66df67214c7550293"
    assert probe.siphash(b"\0", SECRET).hex() == "da87c1d86b99af44347659119b22fc45"


@pytest.mark.parametrize("n", [1, 7, 8, 9, 15, 16, 17, 63, 800, 8192])
def test_the_tag_is_that_of_openssl(n):
    if shutil.which("openssl") is None:
        pytest.skip("NO OPENSSL: apt-get install openssl")
    text = bytes(k % 251 for k in range(n))
    done = subprocess.run(
        ["openssl", "mac", "-macopt", f"hexkey:{SECRET.hex()}", "-macopt", "size:16", "SIPHASH"],
        input=text, capture_output=True, check=False,
    )  # fmt: skip
    assert probe.siphash(text, SECRET).hex() == done.stdout.decode().strip().lower(), done.stderr
