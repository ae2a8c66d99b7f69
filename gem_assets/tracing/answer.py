"""The answer to ``gem trace``: places, labels and exposures of documents, and sums over a domain."""

from gem_assets.frozen import Frozen
from gem_assets.takedown.near import Near


class Place(Frozen):
    """One place at which a text was seen.

    Attributes
    ----------
    kind
        ``kept``; ``exact_within``, ``near_within`` or ``exact_across`` for a duplicate of what is kept; or
        ``filtered: …``, ``quarantined: …`` with the reason.
    file, offset, file_sha256
        Landing file, place in it (see the readers), and the digest of the file's bytes.
    shard, shard_row
        Where the kept text lies in the artifact.
    current
        Whether this version of the snapshot is the one in force.
    """

    snapshot: str
    kind: str
    doc_id: str | None
    url: str | None
    source: str | None
    date: str | None
    lang: str | None
    license: str | None
    content_digest: str | None
    n_tokens: int | None
    n_bytes: int | None
    dup_count: int | None
    file: str
    offset: int
    file_sha256: str | None
    kept_snapshot: str | None
    shard: str | None
    shard_row: int | None
    identity: str
    current: bool


class LabelVersion(Frozen):
    """What one version of the labels says of a document."""

    snapshot: str
    cluster: int
    name: str
    confidence: float
    margin: float
    table: str
    version: int
    identity: str
    current: bool


class Drawn(Frozen):
    """Some documents in the training order in force of a mixture.

    ``positions`` say where each document is shown, from 0, ascending; documents that are not drawn are left out.
    """

    mixture: str
    rows: int
    positions: dict[str, tuple[int, ...]]


class OrderedExposure(Frozen):
    """A document in one training order.

    Attributes
    ----------
    expected
        Exposures that the order's targets imply.
    times, positions
        Exposures drawn, and where: positions of the run from 0, the first thousand.
    with_metadata
        Exposures that carry the metadata prefix.
    """

    order: str
    expected: float
    times: int
    positions: tuple[int, ...]
    rows: int
    with_metadata: int
    current: bool


class Exposure(Frozen):
    """A document in one version of a mixture.

    Where a purge took the labels of the mixture away, ``cluster`` is -1, ``name`` says on which day and by which
    request, nothing is expected, and what its orders drew stands.
    """

    mixture: str
    identity: str
    recipe: str
    cluster: int
    name: str
    token_share: float
    expected: float
    orders: tuple[OrderedExposure, ...]
    current: bool


class TracedDocument(Frozen):
    """Everything that is known of one document."""

    doc_id: str
    places: tuple[Place, ...]
    labels: tuple[LabelVersion, ...]
    mixtures: tuple[Exposure, ...]


class GroupExposure(Frozen):
    """All documents of a domain in one version of a mixture; tokens count repetitions."""

    mixture: str
    documents: int
    expected_exposures: float
    expected_tokens: float
    token_share: float
    order: str | None
    shown_documents: int | None
    shown_exposures: int | None
    shown_tokens: int | None
    current: bool


class TracedDomain(Frozen):
    """All documents of a domain (and what is below it) or of a source, in the current snapshots."""

    domain: str
    documents: int
    places: int
    tokens: int
    bytes: int
    by_snapshot: dict[str, int]
    by_cluster: dict[str, int]
    mixtures: tuple[GroupExposure, ...]


class Trace(Frozen):
    """The answer to one query.

    Attributes
    ----------
    domain
        Sums over a domain or source, when the query is one.
    requests
        Ids of the requests that keep out what the query names, when nothing was found.
    """

    query: str
    documents: tuple[TracedDocument, ...]
    found: int
    domain: TracedDomain | None = None
    near: tuple[Near, ...] = ()
    requests: tuple[str, ...] = ()
