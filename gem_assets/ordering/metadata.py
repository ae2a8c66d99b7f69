"""MeCo's metadata line before a document: the domain of its URL."""

from urllib.parse import urlsplit


def short_domain(url: str | None) -> str | None:
    """Host name of a URL without ``www.`` and port, or None when there is none."""
    try:
        host = urlsplit(url or "").hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def with_prefix(text: str, url: str | None, template: str) -> str:
    """Put the metadata line before a text; a document without a domain stays as it is."""
    domain = short_domain(url)
    return text if domain is None else template.format(domain=domain) + text
