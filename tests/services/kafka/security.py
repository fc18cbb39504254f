"""Who may talk to a broker, and how: SASL/PLAIN users, with or without TLS of a throw-away authority."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from tests.services.kafka.install import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ADMIN", "PROTOCOLS", "USERS", "ClientSettings", "Security"]

ClientSettings: TypeAlias = "dict[str, str | int | float | bool]"

ADMIN = "admin"
USERS = {ADMIN: "admin-secret", "alice": "alice-secret", "bob": "bob-secret"}
PROTOCOLS = {"plaintext": "PLAINTEXT", "sasl_plain": "SASL_PLAINTEXT", "sasl_ssl": "SASL_SSL"}
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
_DAYS = "2"


@dataclass(frozen=True)
class Security:
    """The security of one broker.

    Parameters
    ----------
    kind : str
        A key of `PROTOCOLS`.
    folder : Path
        Where certificates are.
    users : Mapping[str, str]
        Passwords by name; `ADMIN` is always one of them.
    authorize : bool
        Whether users other than `ADMIN` and `super_users` may only do what access control lists allow.
    super_users : tuple[str, ...]
        Who may do everything as well.
    """

    kind: str
    folder: Path
    users: Mapping[str, str] = field(default_factory=lambda: USERS)
    authorize: bool = False
    super_users: tuple[str, ...] = ()

    @property
    def protocol(self) -> str:
        """Kafka's name of the protocol."""
        return PROTOCOLS[self.kind]

    @property
    def authority(self) -> Path | None:
        """The certificate that a client trusts, for TLS."""
        return self.folder / "ca.pem" if self.kind == "sasl_ssl" else None

    def password(self, user: str) -> str:
        """Return the password of `user`."""
        return {**USERS, **self.users}[user]

    def prepare(self) -> None:
        """Make the certificates if they are needed and not there."""
        if self.authority and not shutil.which("openssl"):
            raise Unavailable("openssl is not installed: it makes the certificates of a broker with TLS")
        if self.authority and not self.authority.exists():
            _make_certificates(self.folder)

    def server(self) -> dict[str, str]:
        """Return the broker's settings."""
        return {**self._login(), **self._tls(), **self._rights()}

    def client(self, user: str = ADMIN, password: str | None = None) -> ClientSettings:
        """Return a librdkafka client's settings, those of `user`."""
        if self.kind == "plaintext":
            return {}
        login = {"sasl.username": user, "sasl.password": self.password(user) if password is None else password}
        trust = {"ssl.ca.location": str(self.authority)} if self.authority else {}
        return {"security.protocol": self.protocol, "sasl.mechanism": "PLAIN", **login, **trust}

    def _login(self) -> dict[str, str]:
        if self.kind == "plaintext":
            return {}
        known = " ".join(f'user_{name}="{password}"' for name, password in {**USERS, **self.users}.items())
        own = f'username="{ADMIN}" password="{self.password(ADMIN)}"'
        return {
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.client.plain.sasl.jaas.config": f"{_PLAIN} required {own} {known};",
        }

    def _tls(self) -> dict[str, str]:
        if self.authority is None:
            return {}
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "server.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
        }

    def _rights(self) -> dict[str, str]:
        if not self.authorize:
            return {}
        # The node talks to its own controller without a login, on a port of its own.
        mighty = ";".join(f"User:{name}" for name in ("ANONYMOUS", ADMIN, *self.super_users))
        return {"authorizer.class.name": _AUTHORIZER, "super.users": mighty}


def _make_certificates(folder: Path) -> None:
    authority = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=krishiv-test-authority"]
    _openssl(folder, *authority)
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=CA:FALSE"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost", *names]
    _openssl(folder, "-keyout", "server.key", "-out", "server.crt", *signed)
    key, certificate = (folder / name for name in ("server.key", "server.crt"))
    (folder / "server.pem").write_text(key.read_text() + certificate.read_text())


def _openssl(folder: Path, *arguments: str) -> None:
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", _DAYS]
    subprocess.run([*new, *arguments], cwd=folder, check=True, capture_output=True)
