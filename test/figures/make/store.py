"""A figure on disk: one .safetensors file; what is not a tensor is JSON in its metadata, under "figure"."""

import json
import struct

import numpy as np

CODES = {"float32": "F32", "int32": "I32"}


def write(path, info, tensors):
    header = {"__metadata__": {"figure": json.dumps(info, separators=(",", ":"))}}
    body = bytearray()
    for name, value in tensors.items():
        data = np.ascontiguousarray(value)
        if data.dtype == np.float64:
            data = data.astype(np.float32)
        # Operators are tried at what is no number, too.
        assert "cases" in info or np.all(np.isfinite(data)), name
        raw = data.tobytes()
        header[name] = {
            "dtype": CODES[str(data.dtype)],
            "shape": list(np.shape(value)),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + bytes(body))
