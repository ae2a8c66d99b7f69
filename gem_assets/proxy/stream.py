"""Draw the training text of a mixture so that two mixtures differ only in their shares.

Domain k is visited at the times (i + u_ki) / p_k, i = 0, 1, ..., with u_ki uniform and the same for every mixture; the
stream is all visits in the order of time. Domain k is thus visited at rate p_k, and after n windows the number of its
visits is within about one of p_k n: what a proxy measures is the mixture, not the luck of its draw.
The i-th visit to a domain reads the same window under every mixture and no window is read twice before all were read
once. Such common random numbers are why seeds blur the ranking of mixtures so little.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.proxy.pool import PoolError, TokenPool


def visits(shares: NDArray[np.float64], n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return domain and number of visit (0, 1, ... in each domain) of each of ``n`` windows.

    Parameters
    ----------
    shares
        Non-negative, shape (K,); scaled to sum 1.
    seed
        Of the times of visits; equal seeds couple all mixtures.
    """
    p = check_shares(shares, len(shares))
    domains, times, numbers = [], [], []
    for k in np.flatnonzero(p):
        # arrivals after time n are never among the first n; times are in units of windows
        count = int(np.ceil(p[k] * n)) + 1
        jitter = np.random.default_rng([seed, int(k)]).random(count)
        domains.append(np.full(count, k))
        numbers.append(np.arange(count))
        with np.errstate(over="ignore"):  # a share next to nothing is visited never
            times.append((numbers[-1] + jitter) / p[k])
    domain, number = np.concatenate(domains), np.concatenate(numbers)
    order = np.argsort(np.concatenate(times), kind="stable")[:n]
    return domain[order], number[order]


class DomainWindows:
    """Windows of single domains: the i-th visit to a domain reads the same text whatever the mixture.

    ``context`` is the number of tokens predicted in a window.
    """

    def __init__(self, pool: TokenPool, context: int, seed: int) -> None:
        self.pool, self.context, self.seed = pool, context, seed
        self._starts: dict[tuple[int, int], NDArray[np.int64]] = {}

    def window(self, domain: int, visit: int) -> NDArray[np.uint16]:
        """Return one window, (context + 1,); none is read twice before all of its domain were read once."""
        text = self.pool.domain(domain)
        epoch, number = divmod(visit, max(1, len(text) // self.context))
        start = self._order(domain, epoch, len(text))[number]
        if start + self.context < len(text):
            return text[start : start + self.context + 1]
        # the text is a ring: its end runs into its start, and a text shorter than a window repeats in it
        return text[(start + np.arange(self.context + 1)) % len(text)]

    def _order(self, domain: int, epoch: int, length: int) -> NDArray[np.int64]:
        """Starts of a domain's windows in the order of one epoch; each epoch cuts the text elsewhere."""
        key = (domain, epoch)
        if key not in self._starts:
            rng = np.random.default_rng([self.seed, domain, epoch])
            phase = rng.integers(min(self.context, length))
            order = rng.permutation(max(1, length // self.context))
            self._starts[key] = (phase + self.context * order) % length
        return self._starts[key]


class MixtureStream:
    """Windows of a mixture.

    Raises PoolError when shares are not a mixture, or a domain that has a share has no tokens.

    Parameters
    ----------
    shares
        Token share of each domain, shape (K,).
    seed
        Of visits and of the order of windows; the same for every mixture that is to be compared.
    """

    def __init__(self, pool: TokenPool, shares: NDArray[np.float64], n: int, context: int, seed: int) -> None:
        p = check_shares(shares, pool.domains)
        _refuse_empty(pool, p)
        self.pool, self.context, self.seed = pool, context, seed
        self.domain, self._visit = visits(p, n, seed)
        self._texts = DomainWindows(pool, context, seed)

    def __len__(self) -> int:
        return len(self.domain)

    def windows(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return windows ``start`` to ``stop``, int64 (stop - start, context + 1)."""
        rows = range(start, min(stop, len(self)))
        return np.stack([self._texts.window(int(self.domain[i]), int(self._visit[i])) for i in rows]).astype(np.int64)

    @property
    def epochs(self) -> NDArray[np.float64]:
        """How often the whole stream reads each domain's text, shape (K,)."""
        read = np.bincount(self.domain, minlength=self.pool.domains) * self.context
        return read / np.maximum(self.pool.sizes, 1)


class AdaptiveStream:
    """Windows of a mixture that changes while it is read.

    Each window goes to the domain that is furthest behind its share so far, so that after n windows the visits to a
    domain are within about one of the sum of its shares, whatever the shares were in between.
    """

    def __init__(self, pool: TokenPool, context: int, seed: int) -> None:
        self.pool, self._texts = pool, DomainWindows(pool, context, seed)
        # a random head start, or equal shares would always be visited in the order of the domains
        self._owed = np.random.default_rng([seed, pool.domains]).random(pool.domains)
        self._visit = np.zeros(pool.domains, np.int64)

    @property
    def visits(self) -> NDArray[np.int64]:
        """Windows read of each domain, shape (K,)."""
        return self._visit.copy()

    def take(self, shares: NDArray[np.float64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Read ``n`` windows of a mixture.

        Returns the windows, int64 (n, context + 1), and the domain of each, int64 (n,).

        Raises PoolError when shares are not a mixture, or a domain that has a share has no tokens.
        """
        p = check_shares(shares, self.pool.domains)
        _refuse_empty(self.pool, p)
        domains = np.empty(n, np.int64)
        for i in range(n):
            self._owed += p
            domains[i] = np.argmax(np.where(p > 0, self._owed, -np.inf))
            self._owed[domains[i]] -= 1
        return self._read(domains), domains

    def domain_windows(self, domain: int, n: int) -> NDArray[np.int64]:
        """Read ``n`` further windows of one domain, outside of the mixture; int64 (n, context + 1)."""
        return self._read(np.full(n, domain))

    def _read(self, domains: NDArray[np.int64]) -> NDArray[np.int64]:
        rows: list[NDArray[np.uint16]] = []
        for k in domains:
            rows.append(self._texts.window(int(k), int(self._visit[k])))
            self._visit[k] += 1
        return np.stack(rows).astype(np.int64)


def _refuse_empty(pool: TokenPool, shares: NDArray[np.float64]) -> None:
    empty = np.flatnonzero((shares > 0) & (pool.sizes == 0))
    if len(empty):
        raise PoolError(f"domains {empty.tolist()} have a share of the mixture and no tokens; give them share 0")


def check_shares(shares: NDArray[np.float64], domains: int) -> NDArray[np.float64]:
    """Return shares scaled to sum 1.

    Raises PoolError when there are not ``domains`` of them, one is negative or not finite, or the sum is off 1 by more
    than 1e-6.
    """
    p = np.asarray(shares, np.float64)
    if p.shape != (domains,):
        raise PoolError(f"a mixture of {domains} domains needs as many shares, got an array of shape {p.shape}")
    if not np.isfinite(p).all() or p.min() < 0 or abs(p.sum() - 1) > 1e-6:
        raise PoolError(f"shares must be non-negative and sum to 1, got {p.round(6).tolist()} with sum {p.sum():.8f}")
    return p / p.sum()
