"""The numbers figures are made from, by rules simple enough to repeat in any language (test/support/figures.ts does).

Integers are 32-bit and wrap. For a tensor called NAME, element i (row-major, from 0):

    key = fnv1a(NAME as UTF-8)                      offset basis 0x811c9dc5, prime 0x01000193
    h   = fmix32(fmix32(i) xor key)                 the finaliser of MurmurHash3
    u   = (h >>> 8) / 2^24                          in [0, 1)

What u becomes depends on the tensor (see parameter, signed, integers). The arithmetic is done in double
precision and rounded to float32 once, at the end.
"""

import math

import numpy as np


def fmix32(h):
    h = h.astype(np.uint32)
    with np.errstate(over="ignore"):
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x85EBCA6B)
        h ^= h >> np.uint32(13)
        h *= np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    return h


def fnv1a(name):
    h = 0x811C9DC5
    for byte in name.encode("utf-8"):
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def unit(name, shape):
    i = np.arange(math.prod(shape), dtype=np.uint32)
    h = fmix32(fmix32(i) ^ np.uint32(fnv1a(name)))
    return ((h >> np.uint32(8)).astype(np.float64) / 16777216.0).reshape(shape)


def signed(name, shape):
    """In [-1, 1): inputs, and the directions gradients are taken in."""
    return (2.0 * unit(name, shape) - 1.0).astype(np.float32)


def integers(name, shape, below):
    """In 0 .. below - 1: labels and token ids."""
    return np.floor(unit(name, shape) * below).astype(np.int32)


def parameter(name, shape):
    """By the name's end and the rank: scales and variances around 1, small biases and means, He-uniform weights."""
    u = unit(name, shape)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        v = 0.75 + 0.5 * u
    elif len(shape) <= 1:
        v = 0.2 * (2.0 * u - 1.0)
    else:
        v = (2.0 * u - 1.0) * math.sqrt(6.0 / math.prod(shape[1:]))
    return v.astype(np.float32)


def probe(name, values):
    """A checksum of a large tensor that rounding barely moves: its dot product with `signed("probe:" + NAME)`."""
    v = np.asarray(values, dtype=np.float64)
    return float((v * signed("probe:" + name, v.shape).astype(np.float64)).sum())


def threefry2x32(key0, key1, x0, x1):
    """Threefry-2x32 of 20 rounds (Salmon et al., 2011) over arrays of counters; two words of bits for each."""
    with np.errstate(over="ignore"):
        k = [np.uint32(key0), np.uint32(key1)]
        k.append(k[0] ^ k[1] ^ np.uint32(0x1BD11BDA))
        a = np.asarray(x0, dtype=np.uint32) + k[0]
        b = np.asarray(x1, dtype=np.uint32) + k[1]
        for block in range(5):
            for r in (13, 15, 26, 6) if block % 2 == 0 else (17, 29, 16, 24):
                a = a + b
                b = ((b << np.uint32(r)) | (b >> np.uint32(32 - r))) ^ a
            a = a + k[(block + 1) % 3]
            b = b + k[(block + 2) % 3] + np.uint32(block + 1)
    return a, b


def draw(seed, site, step, shape, turn=0):
    """Uniforms in [0, 1) as a random operation of mdl draws them (runtime/core/threefry.ts).

    `site` is "INSTANCE PATH/FN/N": the N-th random operation of that fn of that instance within the entry. `turn` counts
    the passes of the loops around it.
    """
    one = lambda v: np.array([v], dtype=np.uint32)
    hashed = int(fmix32(one(fnv1a(site)))[0])
    k0, k1 = threefry2x32(seed & 0xFFFFFFFF, seed >> 32, one(hashed), one(step))
    i = np.arange(math.prod(shape), dtype=np.uint32)
    bits, _ = threefry2x32(k0[0], k1[0], i, np.full_like(i, turn))
    return ((bits >> np.uint32(8)).astype(np.float64) / 16777216.0).reshape(shape)


def check():
    """The published test vectors of Threefry-2x32-20 and MurmurHash3's finaliser."""
    one = lambda v: np.array([v], dtype=np.uint32)
    for key, counter, bits in [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]:
        a, b = threefry2x32(*key, one(counter[0]), one(counter[1]))
        assert (int(a[0]), int(b[0])) == bits, (key, counter)
    assert int(fmix32(one(1))[0]) == 0x514E28B7
    assert fnv1a("a") == 0xE40C292C
