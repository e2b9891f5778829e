"""Which certificates are accepted: those that kubectl and curl accept."""

from __future__ import annotations

import ssl


def relax_strict_checks(context: ssl.SSLContext) -> ssl.SSLContext:
    """Makes a context accept certificates that only Python refuses; returns it.

    Python 3.13 made VERIFY_X509_STRICT a default: it refuses private authorities without the
    key-usage extension, or with basic constraints that are not critical. Chain, host name and dates
    are still verified.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
