"""The real programs behind and on the gateway, each configured to run for one test as root in a namespace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from live.lab import Lab, wait_for

CONTENT = bytes(range(256)) * 4096
"""What the servers have to give: a mebibyte."""

LONG = CONTENT * 32
"""What takes longer than any socket's buffer lasts."""


def web(lab: Lab, role: str, port: int = 80) -> None:
    """A web server that serves `content` and `long`."""
    root = lab.place / "www"
    root.mkdir(exist_ok=True)
    (root / "content").write_bytes(CONTENT)
    (root / "long").write_bytes(LONG)
    lab.start(role, sys.executable, "-m", "http.server", str(port), "--bind", "0.0.0.0", "--directory", str(root))
    assert wait_for(lambda: lab.listens(role, port))


def ssh(lab: Lab, role: str) -> list[str]:
    """An ssh server that takes one key; the client's command line but for host and command."""
    keys = lab.place / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    config = keys / "sshd_config"
    config.write_text(
        f"HostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n"
        f"PidFile none\nUseDNS no\nPrintMotd no\nPrintLastLog no\n"
    )
    lab.start(role, "/usr/sbin/sshd", "-D", "-e", "-f", str(config))
    assert wait_for(lambda: lab.listens(role, 22))
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "ConnectTimeout": "20",
    }
    command = ["ssh", "-T", "-F", "none", "-i", str(keys / "user"), "-l", "root"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    return command


def ftp(lab: Lab, role: str) -> None:
    """vsftpd for anonymous, both families."""
    root = lab.place / "ftp"
    root.mkdir()
    (root / "content").write_bytes(CONTENT)
    lab.place.chmod(0o755)
    Path("/var/run/vsftpd/empty").mkdir(parents=True, exist_ok=True)
    config = lab.place / "vsftpd.conf"
    config.write_text(
        f"listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={root}\n"
        "no_anon_password=YES\nseccomp_sandbox=NO\nisolate_network=NO\npasv_enable=YES\nport_enable=YES\n"
        "connect_from_port_20=YES\n"
    )
    lab.start(role, "/usr/sbin/vsftpd", str(config))
    assert wait_for(lambda: lab.listens(role, 21))
