"""TLS in front of a contestant: one certificate, made anew for each trial (P-256, as most are)."""

import subprocess
from pathlib import Path


def tls_words(folder: Path, wanted: bool) -> dict[str, str]:
    """Values of the templates; empty ones: in the clear."""
    if not wanted:
        return {"zeroproxy_tls": "", "nginx_ssl": "", "nginx_tls": "", "haproxy_tls": ""}
    cert, key, both = folder / "cert.pem", folder / "key.pem", folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "2", "-subj", "/CN=engine.test", "-keyout", str(key),
               "-out", str(cert)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(cert.read_text() + key.read_text())
    return {
        "zeroproxy_tls": f'[server.tls]\ncert = "{cert}"\nkey = "{key}"\n',
        "nginx_ssl": " ssl",
        "nginx_tls": f"ssl_protocols TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key};",
        "haproxy_tls": f" ssl crt {both} alpn http/1.1",
    }
