"""Functions of Weir's that DuckDB lacks, by Python's own library: an opinion that owes nothing to ours."""

import base64
import binascii
import functools
import ipaddress
from urllib.parse import urlsplit

# Private by docs/functions.md; Python's `is_private` counts documentation and benchmarking too.
_PRIVATE = [
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/32",
        "fc00::/7", "::1/128", "fe80::/10", "::/128",
    )
]  # fmt: skip
_PORTS = {"http": 80, "https": 443}


def define(connection):
    """Makes them known to DuckDB. NULL in gives NULL out."""
    for name, function, takes, gives in (
        ("cidr_match", cidr_match, 2, "BOOLEAN"),
        ("ip_in_private", ip_in_private, 1, "BOOLEAN"),
        ("decode_base64", decode_base64, 1, "VARCHAR"),
        ("parse_url", parse_url, 2, "VARCHAR"),
        ("parse_kv_by", parse_kv, 4, "VARCHAR"),
    ):
        connection.create_function(name, _of_nulls(function), ["VARCHAR"] * takes, gives, null_handling="special")
    connection.execute(
        "CREATE MACRO parse_kv(text, key, pair_sep := ' ', kv_sep := '=') AS parse_kv_by(text, key, pair_sep, kv_sep)"
    )


def _of_nulls(function):
    @functools.wraps(function)
    def called(*arguments):
        return None if None in arguments else function(*arguments)

    return called


def cidr_match(ip, cidr):
    address = _address(ip)
    return None if address is None else address in ipaddress.ip_network(cidr)


def ip_in_private(ip):
    address = _address(ip)
    return None if address is None else any(address in network for network in _PRIVATE)


def decode_base64(text):
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def parse_url(url, part):
    parts = urlsplit(url)
    if not parts.netloc:
        return None
    port = parts.port or _PORTS.get(parts.scheme)
    found = {
        "scheme": parts.scheme,
        "host": parts.hostname,
        "port": None if port is None else str(port),
        "path": parts.path,
        "query": parts.query,
        "fragment": parts.fragment,
    }
    return found[part]


def parse_kv(text, key, pair_sep, kv_sep):
    pairs = dict(pair.split(kv_sep, 1) for pair in reversed(text.split(pair_sep)) if kv_sep in pair)
    return pairs.get(key)


def _address(text):
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
