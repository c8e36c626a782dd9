"""Explains TLS errors: what is wrong, and which setting fixes it."""

from __future__ import annotations

import ssl

_UNKNOWN_AUTHORITY = (
    "the server's certificate is signed by an unknown authority; set ssl_ca_certs to a file with "
    "that authority's certificate"
)

# OpenSSL's X509_V_ERR_* (openssl/x509_vfy.h).
_VERIFICATION = {
    9: "the server's certificate is not valid yet; check the clocks, or the certificate",
    10: "the server's certificate has expired; renew it",
    18: "the server's certificate is self-signed; set ssl_ca_certs to a file with it",
    19: _UNKNOWN_AUTHORITY,
    20: _UNKNOWN_AUTHORITY,
    23: "the server's certificate was revoked; renew it",
    62: "the server's certificate is for another host name; use the name that it is for",
    64: "the server's certificate is for another address; use the name that it is for",
}

# Substrings of OpenSSL's reasons, most specific first. ALERT marks what the server sent.
_REASONS = (
    (
        "CERTIFICATE_REQUIRED",
        "the server asks for a client certificate; set ssl_certfile and ssl_keyfile",
    ),
    (
        "HANDSHAKE_FAILURE",
        "the server wants another TLS, or a client certificate; set ssl_certfile and ssl_keyfile",
    ),
    ("ALERT_UNKNOWN_CA", "the server does not trust the client certificate; set ssl_certfile"),
    ("ALERT_CERTIFICATE", "the server refuses the client certificate; set another ssl_certfile"),
    ("ALERT_BAD_CERTIFICATE", "the server refuses the client certificate; set ssl_certfile"),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS at this port; leave ssl out"),
    ("RECORD_LAYER_FAILURE", "the server does not speak TLS at this port; leave ssl out"),
)


def find_tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """Returns the TLS error behind an error, or None.

    Args:
        error: the error; its causes and contexts are searched
    """
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return None if _is_disconnect(error) else error
        error = error.__cause__ or error.__context__
    return None


def explain_tls_error(error: ssl.SSLError) -> str:
    """Returns what is wrong and what to set: one sentence without the full stop."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _VERIFICATION.get(error.verify_code)
        return known or f"the server's certificate is refused ({error.verify_message})"
    reason = str(error.reason or error)
    for part, explanation in _REASONS:
        if part in reason:
            return explanation
    return f"TLS failed ({reason}); check the ssl settings and the server's"


def _is_disconnect(error: ssl.SSLError) -> bool:
    """Returns whether the peer just closed the connection, which is no TLS error."""
    return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
