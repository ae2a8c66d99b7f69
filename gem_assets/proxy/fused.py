"""Everything in a proxy step except matrix products, each as one compiled pass on the CPU.

The functions of ``plain``, as numba loops over bfloat16 (as its 16 bits) or float32: one read, one write, sums and
exponentials in float32. Measured against PyTorch's operations one after the other: cross-entropy of 128 x 2,048
bfloat16 logits with its gradient takes 56 us instead of 340, causal softmax of 6 x 256 x 256 scores 88 us instead of
235, because half of the scores are skipped. Exponentials are a polynomial (relative error 1e-7) because a call into
libm does not vectorise, and maxima are taken on the bits as integers for the same reason. The last bits depend on the
processor's vector width, not on the run or on where an array lies.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit, types
from numba.extending import overload
from torch import Tensor

from gem_assets.proxy import plain

Array = np.ndarray[Any, Any]

_LOG2E = np.float32(1.4426950408889634)
_ONE = np.float32(1.0)
_EPS = np.float32(plain.EPS)
_MAGNITUDE = np.int32(0x7FFFFFFF)
#: Rows of scores are worked on in multiples of this: what is left over of a vector loop would run one by one.
_STRIDE = 64
#: Added to the scores of keys that come later than the query; finite, since compiled code may assume finite numbers.
_LATER = np.where(np.arange(_STRIDE) > np.arange(_STRIDE)[:, None], -1e30, 0.0).astype(np.float32)


def jit(function: Any) -> Any:
    """Compile without the GIL, sums in any order; cached on disk where a cache folder can be written."""
    try:
        return njit(nogil=True, cache=True, fastmath=True, error_model="numpy")(function)
    except RuntimeError:
        return njit(nogil=True, fastmath=True, error_model="numpy")(function)


def rms_norm(x: Tensor, branch: Tensor | None, gain: Tensor, compute: torch.dtype) -> tuple[Tensor, Tensor]:
    """See ``plain.rms_norm``."""
    out = torch.empty(x.shape, dtype=compute)
    if branch is None:
        _rms_norm(_np(x), _np(gain), _np(out))
        return x, out
    y = torch.empty_like(x)
    _add_rms_norm(_np(x), _np(branch), _np(gain), _np(y), _np(out))
    return y, out


def rms_norm_backward(
    grad: Tensor, y: Tensor, gain: Tensor, residual: Tensor | None, d_gain: Tensor
) -> tuple[Tensor, Tensor]:
    """See ``plain.rms_norm_backward``; overwrites."""
    d_y = torch.zeros_like(y) if residual is None else residual
    _rms_norm_backward(_np(grad), _np(y), _np(gain), _np(d_y), _np(d_gain))
    return d_y, grad


def swiglu(both: Tensor) -> Tensor:
    """See ``plain.swiglu``."""
    out = torch.empty(len(both), both.shape[1] // 2, dtype=both.dtype)
    _swiglu(_np(both), _np(out))
    return out


def swiglu_backward(grad: Tensor, both: Tensor) -> Tensor:
    """See ``plain.swiglu_backward``."""
    out = torch.empty_like(both)
    _swiglu_backward(_np(grad), _np(both), _np(out))
    return out


def split_heads(qkv: Tensor, batch: int, heads: int, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See ``plain.split_heads``."""
    t, half = cos.shape
    parts = torch.empty(3, batch, heads, t, 2 * half, dtype=qkv.dtype)
    split, _ = _rotations(half)
    split(_np(qkv.view(batch, t, -1)), _np(cos), _np(sin), _np(parts))
    q, k, v = parts.view(3, batch * heads, t, -1)
    return q, k, v


def merge_heads(d_q: Tensor, d_k: Tensor, d_v: Tensor, batch: int, cos: Tensor, sin: Tensor) -> Tensor:
    """See ``plain.merge_heads``."""
    t, half = cos.shape
    out = torch.empty(batch, t, 6 * half * (len(d_q) // batch), dtype=d_q.dtype)
    _, merge = _rotations(half)
    merge(*(_np(d.view(batch, -1, t, 2 * half)) for d in (d_q, d_k, d_v)), _np(cos), _np(sin), _np(out))
    return out.view(batch * t, -1)


def causal_softmax(scores: Tensor, scale: float) -> Tensor:
    """See ``plain.causal_softmax``; overwrites."""
    _causal_softmax(_np(scores), np.float32(scale), _LATER)
    return scores


def causal_softmax_backward(p: Tensor, grad: Tensor, scale: float) -> Tensor:
    """See ``plain.causal_softmax_backward``; overwrites."""
    _causal_softmax_backward(_np(p), _np(grad), np.float32(scale))
    return grad


def cross_entropy(
    logits: Tensor, target: Tensor, weights: Tensor, z_loss: float, cap: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """See ``plain.cross_entropy``; overwrites. A capped head goes the plain way."""
    if cap is not None:
        return plain.cross_entropy(logits, target, weights, z_loss, cap)
    losses, lse = torch.empty(len(logits)), torch.empty(len(logits))
    _cross_entropy(_np(logits), _np(target), _np(weights), np.float32(z_loss), _np(losses), _np(lse))
    return losses, lse, logits


def centre(embedding: Tensor) -> None:
    """See ``plain.centre``."""
    _centre(_np(embedding))


def _np(tensor: Tensor) -> Array:
    """The memory of a tensor; bfloat16 as its bits."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _load(a: Any, i: Any) -> Any:  # noqa: ARG001
    raise TypeError("for compiled code only")


def _store(a: Any, i: Any, value: Any) -> None:  # noqa: ARG001
    raise TypeError("for compiled code only")


@overload(_load)
def _load_impl(a: Any, i: Any) -> Any:  # noqa: ARG001
    if a.dtype != types.uint16:

        def as_is(a: Any, i: Any) -> Any:
            return a[i]

        return as_is

    def widened(a: Any, i: Any) -> Any:
        return np.uint32(np.uint32(a[i]) << np.uint32(16)).view(np.float32)

    return widened


@overload(_store)
def _store_impl(a: Any, i: Any, value: Any) -> Any:  # noqa: ARG001
    if a.dtype != types.uint16:

        def as_is(a: Any, i: Any, value: Any) -> None:
            a[i] = value

        return as_is

    def rounded(a: Any, i: Any, value: Any) -> None:
        bits = np.float32(value).view(np.uint32)
        odd = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
        a[i] = np.uint16(np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return rounded


@jit
def _exp(x: Any) -> Any:
    """exp(x) within 2^-100 and 2^100: what is less counts for nothing, and subnormal numbers are slow."""
    t = max(np.float32(x * _LOG2E), np.float32(-100.0))
    t = min(t, np.float32(100.0))
    whole = np.floor(t)
    f = np.float32(t - whole)
    # 2^f on [0, 1), least largest relative error
    p = np.float32(1.8775767e-3)
    p = p * f + np.float32(8.9893405e-3)
    p = p * f + np.float32(5.5826317e-2)
    p = p * f + np.float32(2.4015362e-1)
    p = p * f + np.float32(6.9315307e-1)
    p = p * f + np.float32(9.9999993e-1)
    return p * np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@jit
def _rank(value: Any) -> Any:
    """The bits of a float32 as an integer that orders alike."""
    bits = np.float32(value).view(np.int32)
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & _MAGNITUDE))


@jit
def _unrank(rank: Any) -> Any:
    return np.int32(rank ^ np.int32(np.int32(rank >> np.int32(31)) & _MAGNITUDE)).view(np.float32)


@jit
def _apart(n: int) -> Array:
    """Memory for n numbers with room on both sides.

    Compiled loops ask first whether their arrays overlap, and ask generously: next to each other is enough for the
    scalar loop, whose sums end in other bits. Results would depend on where the heap put things.
    """
    return np.empty(n + 2 * _STRIDE, np.float32)[_STRIDE : _STRIDE + n]


@jit
def _scale(row: Array) -> Any:
    total = np.float32(0.0)
    for j in range(len(row)):
        total += row[j] * row[j]
    return _ONE / np.sqrt(total / np.float32(len(row)) + _EPS)


@jit
def _rms_norm(x: Array, gain: Array, out: Array) -> None:
    for r in range(len(x)):
        row, to = x[r], out[r]
        k = _scale(row)
        for j in range(len(row)):
            _store(to, j, row[j] * k * gain[j])


@jit
def _add_rms_norm(x: Array, branch: Array, gain: Array, y: Array, out: Array) -> None:
    for r in range(len(x)):
        row, more, new, to = x[r], branch[r], y[r], out[r]
        for j in range(len(row)):
            new[j] = row[j] + _load(more, j)
        k = _scale(new)
        for j in range(len(row)):
            _store(to, j, new[j] * k * gain[j])


@jit
def _rms_norm_backward(grad: Array, y: Array, gain: Array, d_y: Array, d_gain: Array) -> None:
    d_gain[:] = 0
    for r in range(len(y)):
        row, g, to = y[r], grad[r], d_y[r]
        k = _scale(row)
        inner = np.float32(0.0)
        for j in range(len(row)):
            from_above = _load(g, j) * row[j] * k
            d_gain[j] += from_above
            inner += from_above * gain[j]
        inner = inner / np.float32(len(row)) * k
        for j in range(len(row)):
            to[j] += (_load(g, j) * gain[j] - row[j] * inner) * k
            _store(g, j, to[j])


@jit
def _swiglu(both: Array, out: Array) -> None:
    n, f = out.shape
    for r in range(n):
        row, to = both[r], out[r]
        gate, up = row[:f], row[f:]
        for j in range(f):
            g = _load(gate, j)
            _store(to, j, g * _load(up, j) / (_ONE + _exp(-g)))


@jit
def _swiglu_backward(grad: Array, both: Array, out: Array) -> None:
    n, f = grad.shape
    for r in range(n):
        from_above = grad[r]
        gate, up = both[r, :f], both[r, f:]
        d_gate, d_up = out[r, :f], out[r, f:]
        for j in range(f):
            g, above = _load(gate, j), _load(from_above, j)
            o = _ONE / (_ONE + _exp(-g))
            _store(d_gate, j, above * _load(up, j) * o * (_ONE + g * (_ONE - o)))
            _store(d_up, j, above * g * o)


@lru_cache
def _rotations(half: int) -> tuple[Any, Any]:
    """Kernels of :func:`split_heads` and :func:`merge_heads` for one head width.

    The width is a constant of the compiled code, since a loop over 16 numbers that could be any number is not
    vectorised.
    """

    @jit
    def split(qkv: Array, cos: Array, sin: Array, parts: Array) -> None:
        _, batch, heads, t, _ = parts.shape
        for b in range(batch):
            for i in range(t):
                row, c, s = qkv[b, i], cos[i], sin[i]
                for h in range(heads):
                    to_q, to_k, to_v = parts[0, b, h, i], parts[1, b, h, i], parts[2, b, h, i]
                    at_q = h * 2 * half
                    at_k, at_v = at_q + heads * 2 * half, at_q + heads * 4 * half
                    for j in range(half):
                        x, y = _load(row, at_q + j), _load(row, at_q + half + j)
                        _store(to_q, j, x * c[j] - y * s[j])
                        _store(to_q, half + j, y * c[j] + x * s[j])
                    for j in range(half):
                        x, y = _load(row, at_k + j), _load(row, at_k + half + j)
                        _store(to_k, j, x * c[j] - y * s[j])
                        _store(to_k, half + j, y * c[j] + x * s[j])
                    for j in range(2 * half):
                        to_v[j] = row[at_v + j]

    @jit
    def merge(d_q: Array, d_k: Array, d_v: Array, cos: Array, sin: Array, out: Array) -> None:
        batch, t, _ = out.shape
        heads = d_q.shape[1]
        for b in range(batch):
            for i in range(t):
                row, c, s = out[b, i], cos[i], sin[i]
                for h in range(heads):
                    from_q, from_k, from_v = d_q[b, h, i], d_k[b, h, i], d_v[b, h, i]
                    at_q = h * 2 * half
                    at_k, at_v = at_q + heads * 2 * half, at_q + heads * 4 * half
                    for j in range(half):
                        x, y = _load(from_q, j), _load(from_q, half + j)
                        _store(row, at_q + j, x * c[j] + y * s[j])
                        _store(row, at_q + half + j, y * c[j] - x * s[j])
                    for j in range(half):
                        x, y = _load(from_k, j), _load(from_k, half + j)
                        _store(row, at_k + j, x * c[j] + y * s[j])
                        _store(row, at_k + half + j, y * c[j] - x * s[j])
                    for j in range(2 * half):
                        row[at_v + j] = from_v[j]

    return split, merge


@jit
def _causal_softmax(scores: Array, scale: Any, later: Array) -> None:
    groups, t, _ = scores.shape
    work = _apart(t)
    for g in range(groups):
        for i in range(t):
            last = i // _STRIDE * _STRIDE
            row, unseen = scores[g, i, : last + _STRIDE], later[i - last]
            edge = row[last:]
            for j in range(len(edge)):
                _store(edge, j, _load(edge, j) + unseen[j])
            top = np.int32(-2147483648)
            for j in range(len(row)):
                top = np.int32(max(top, _rank(_load(row, j))))
            shift = _unrank(top) * scale
            mass = np.float32(0.0)
            for j in range(len(row)):
                e = _exp(_load(row, j) * scale - shift)
                work[j] = e
                mass += e
            k = _ONE / mass
            for j in range(len(row)):
                _store(row, j, work[j] * k)
            scores[g, i, i + 1 :] = 0


@jit
def _causal_softmax_backward(p: Array, grad: Array, scale: Any) -> None:
    groups, t, _ = p.shape
    for g in range(groups):
        for i in range(t):
            seen = i // _STRIDE * _STRIDE + _STRIDE
            weights, row = p[g, i, :seen], grad[g, i, :seen]
            inner = np.float32(0.0)
            for j in range(len(row)):
                inner += _load(weights, j) * _load(row, j)
            for j in range(len(row)):
                _store(row, j, (_load(row, j) - inner) * _load(weights, j) * scale)
            grad[g, i, seen:] = 0


@jit
def _cross_entropy(logits: Array, target: Array, weights: Array, z_loss: Any, losses: Array, lse: Array) -> None:
    n, vocab = logits.shape
    work = _apart(vocab)
    for r in range(n):
        row = logits[r]
        top = np.int32(-2147483648)
        for j in range(vocab):
            top = np.int32(max(top, _rank(_load(row, j))))
        shift = _unrank(top)
        picked = _load(row, target[r])
        mass = np.float32(0.0)
        for j in range(vocab):
            e = _exp(_load(row, j) - shift)
            work[j] = e
            mass += e
        lse[r] = shift + np.log(mass)
        losses[r] = lse[r] - picked
        k = weights[r] * (_ONE + np.float32(2.0) * z_loss * lse[r]) / mass
        for j in range(vocab):
            _store(row, j, work[j] * k)
        _store(row, target[r], work[target[r]] * k - weights[r])


@jit
def _centre(rows: Array) -> None:
    mean = np.zeros(rows.shape[1], np.float32)
    for r in range(len(rows)):
        row = rows[r]
        for j in range(len(mean)):
            mean[j] += row[j]
    mean /= np.float32(len(rows))
    for r in range(len(rows)):
        row = rows[r]
        for j in range(len(mean)):
            row[j] -= mean[j]
