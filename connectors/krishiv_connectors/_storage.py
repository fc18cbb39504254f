"""Where a bucket is, and who may open it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from krishiv_connectors._secrets import Secret
from krishiv_guarantees import ConfigurationError

if TYPE_CHECKING:
    from typing import Any, Self

__all__ = ["S3"]


@dataclass(frozen=True, kw_only=True)
class S3:
    """An S3 server. What is left out comes from the environment, as AWS's own tools take it (``AWS_REGION`` ...).

    Parameters
    ----------
    endpoint : str, optional
        ``"https://host:port"``; default: Amazon's. ``http://`` is for a server on this machine or in a network of one's
        own: it shows all data, though never the secret key.
    access_key, secret_key : str or Secret, optional
        Credentials. A `Secret` may be read from a file or a variable when it is needed.
    region : str, optional
    session_token : str or Secret, optional
        For temporary credentials.

    Notes
    -----
    Buckets are addressed by path where an endpoint is given, as servers of one's own want it, and by host name at
    Amazon's.
    """

    endpoint: str | None = None
    access_key: Secret | str | None = None
    secret_key: Secret | str | None = None
    region: str | None = None
    session_token: Secret | str | None = None

    def __post_init__(self) -> None:
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"{self.endpoint!r} is no endpoint of S3", hint="write it with http:// or https:// before the host"
            )
        for name in ("access_key", "secret_key", "session_token"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, Secret(value))

    @classmethod
    def of(cls, files: Any) -> Self:
        """Return the server of an `s3fs.S3FileSystem` that you have already, with its credentials.

        What it takes from the environment is taken from there; its other settings stay its own. Anything else is a
        `ConfigurationError`: an anonymous file system, one of another kind.
        """
        if not {"key", "secret", "token", "endpoint_url", "client_kwargs", "anon"} <= set(dir(files)) or files.anon:
            raise ConfigurationError(
                f"{type(files).__name__} is no s3fs.S3FileSystem with credentials",
                hint="give one, or write S3(endpoint=..., access_key=..., secret_key=...)",
            )
        more = files.client_kwargs
        return cls(
            endpoint=files.endpoint_url or more.get("endpoint_url"),
            access_key=files.key or more.get("aws_access_key_id"),
            secret_key=files.secret or more.get("aws_secret_access_key"),
            session_token=files.token or more.get("aws_session_token"),
            region=more.get("region_name"),
        )

    def options(self) -> dict[str, str]:
        """Return the settings under the names that obstore, delta-rs and polars share, secrets revealed."""
        found: dict[str, Any] = {
            "aws_endpoint": self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "aws_session_token": self.session_token,
            "aws_region": self.region,
        }
        if self.endpoint is not None:
            found["aws_virtual_hosted_style_request"] = "false"
            if self.endpoint.startswith("http://"):
                found["aws_allow_http"] = "true"
        return {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in found.items()
            if value is not None
        }
