"""What the safetensors library says to a table of files, most of them malformed: test/figures/safetensors.json.

Each case: its name, the file in base64 (`zeros` bytes of zeros follow), and what the library answers, null where it reads
the file.

    /tmp/figures/bin/pip install safetensors
    /tmp/figures/bin/python test/figures/make/verdicts.py
"""

import base64
import json
import os
import struct

import safetensors

BODY = bytes(range(8))
ENTRY = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def file(header, body=BODY, length=None):
    header = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def entry(dtype='"F32"', shape="[2]", offsets="[0,8]", more=""):
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}'


def one(name="a", **fields):
    return f'{{"{name}":{entry(**fields)}}}'


def two(offsets, shape="[2]", dtype='"F32"'):
    return f'{{"a":{ENTRY},"b":{entry(dtype, shape, offsets)}}}'


CASES = {
    "good": file(one()),
    "padded": file(one() + "   "),
    "leading space": file(" " + one()),
    "line breaks and tabs": file(one() + "\n\t\r "),
    "zero byte after the header": file(one() + "\0"),
    "no tensors": file("{}", b""),
    "no tensors, but bytes": file("{}"),
    "metadata alone": file('{"__metadata__":{"a":"b"}}', b""),
    "metadata of numbers": file(f'{{"__metadata__":{{"k":1}},"a":{ENTRY}}}'),
    "metadata that is a list": file(f'{{"__metadata__":[],"a":{ENTRY}}}'),
    "metadata nested": file(f'{{"__metadata__":{{"k":{{}}}},"a":{ENTRY}}}'),
    "metadata null": file(f'{{"__metadata__":null,"a":{ENTRY}}}'),
    "metadata that is text": file(f'{{"__metadata__":"","a":{ENTRY}}}'),
    "metadata that is false": file(f'{{"__metadata__":false,"a":{ENTRY}}}'),
    "metadata twice": file(f'{{"__metadata__":{{}},"__metadata__":{{}},"a":{ENTRY}}}'),
    "a tensor called __metadata__": file(f'{{"__metadata__":{ENTRY}}}'),
    "a key twice": file('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "offsets twice": file('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4],"data_offsets":[0,8]}}'),
    "another key": file(one(more=',"x":1')),
    "header empty": file(""),
    "header is a list": file("[]"),
    "header is null": file("null"),
    "header is a string": file('"x"'),
    "header is a number": file("1"),
    "header one byte short": file(one() + " ", length=len(one())),
    "header one byte long": file(one(), length=len(one()) + 1),
    "header cut": file(one(), length=len(one()) - 1),
    "trailing comma": file(f'{{"a":{ENTRY},}}'),
    "comment": file(one() + "//"),
    "single quotes": file(one().replace('"', "'")),
    "NaN": file(one(shape="[NaN]")),
    "trailing byte": file(one(), BODY + b"x"),
    "truncated": file(one(), BODY[:-1]),
    "no body": file(one(), b""),
    "gap at the start": file(one(offsets="[4,12]"), BODY + BODY[:4]),
    "gap between": file(two("[9,10]", "[1]", '"U8"'), BODY + b"xx"),
    "overlap": file(two("[4,12]"), BODY + BODY[:4]),
    "the same bytes": file(two("[0,8]")),
    "inside another": file(two("[2,4]", "[2]", '"U8"')),
    "empty at the end": file(two("[8,8]", "[0]")),
    "empty at the start": file(two("[0,0]", "[0]")),
    "empty between": file(two("[4,4]", "[0]")),
    "unordered": file(f'{{"b":{entry(chr(34) + "U8" + chr(34), "[1]", "[8,9]")},"a":{ENTRY}}}', BODY + b"x"),
    "scalar": file(one(shape="[]", offsets="[0,4]"), BODY[:4]),
    "offsets reversed": file(one(offsets="[8,0]")),
    "three offsets": file(one(offsets="[0,8,9]")),
    "one offset": file(one(offsets="[0]")),
    "offsets null": file(one(offsets="null")),
    "offset of minus zero": file(one(offsets="[-0,8]")),
    "offset beyond 64 bits": file(one(offsets="[18446744073709551616,8]")),
    "offset near 64 bits": file(one(offsets="[18446744073709551608,0]")),
    "size too large": file(one(shape="[3]")),
    "size too small": file(one(shape="[1]")),
    "size negative": file(one(shape="[-2]")),
    "size as a float": file(one(shape="[2.0]")),
    "size with an exponent": file(one(shape="[2e0]")),
    "size as text": file(one(shape='["2"]')),
    "size true": file(one(shape="[true]", offsets="[0,4]"), BODY[:4]),
    "size with a leading zero": file(one(shape="[02]")),
    "sizes null": file(one(shape="null")),
    "a size alone": file(one(shape="2")),
    "sizes overflow": file(one(shape="[4294967296,4294967296,2]")),
    "sizes overflow before a zero": file(one(shape="[4294967296,4294967296,0]", offsets="[0,0]"), b""),
    "zero before large sizes": file(one(shape="[0,4294967296,4294967296]", offsets="[0,0]"), b""),
    "no shape": file('{"a":{"dtype":"F32","data_offsets":[0,8]}}'),
    "no dtype": file('{"a":{"shape":[2],"data_offsets":[0,8]}}'),
    "no offsets": file('{"a":{"dtype":"F32","shape":[2]}}'),
    "dtype null": file(one(dtype="null")),
    "dtype in lower case": file(one(dtype='"f32"')),
    "dtype of an object": file(one(dtype='"toString"')),
    "dtype F128": file(one(dtype='"F128"')),
    "entry null": file('{"a":null}'),
    "entry a number": file('{"a":1}'),
    "entry a string": file('{"a":"F32"}'),
    "entry empty": file('{"a":{}}'),
    "half a byte over": file(one(dtype='"F4"', shape="[3]", offsets="[0,2]"), BODY[:2]),
    "no UTF-8 in a name": file(f'{{"X":{ENTRY}}}'.encode().replace(b"X", b"\xff")),
    "a surrogate as UTF-8": file(f'{{"X":{ENTRY}}}'.encode().replace(b"X", b"\xed\xa0\x80")),
    "an overlong slash": file(f'{{"X":{ENTRY}}}'.encode().replace(b"X", b"\xc0\xaf")),
    "a lone surrogate": file(one("\\ud800")),
    "a lone surrogate in metadata": file(f'{{"__metadata__":{{"a":"\\udc00"}},"a":{ENTRY}}}'),
    "a surrogate pair": file(one("\\ud83d\\ude00")),
    "a byte order mark": file(b"\xef\xbb\xbf" + one().encode()),
    "a control character in a name": file(one("a\x01")),
    "an escaped zero in a name": file(one("a\\u0000")),
    "no name": file(one("")),
    "a name of a prototype": file(one("__proto__")),
    "no file": b"",
    "seven bytes": bytes(7),
    "eight zeros": bytes(8),
    "header of 2^63": file("", length=2**63),
    "header of 2^64 - 1": file("", length=2**64 - 1),
    "header of 2^53 + 1": file(one(), length=2**53 + 1),
}
for dtype, bits in {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32,
    "U16": 16, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4,
}.items():  # fmt: skip
    for more in (0, 1):
        n = bits + more
        CASES[f"dtype {dtype}{', a byte more' if more else ''}"] = file(
            one(dtype=f'"{dtype}"', shape="[8]", offsets=f"[0,{n}]"), bytes(n)
        )
# The header's bound, with blanks for what has no say.
LONG = {"header of 100 MB and a byte": 100_000_001}


def verdict(data):
    try:
        safetensors.deserialize(data)
    except Exception as error:
        return str(error).removeprefix("Error while deserializing: ")
    return None


cases = [{"name": k, "file": base64.b64encode(v).decode(), "refused": verdict(v)} for k, v in CASES.items()]
for name, length in LONG.items():
    head = struct.pack("<Q", length) + b"{"
    cases.append(
        {"name": name, "file": base64.b64encode(head).decode(), "zeros": length, "refused": verdict(head + bytes(length))}
    )

OUT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "safetensors.json")
with open(OUT, "w") as out:
    rows = ",\n".join(json.dumps(c) for c in cases)
    out.write(f'{{"made_by": "safetensors {safetensors.__version__}", "cases": [\n{rows}\n]}}\n')
print(f"{len(cases)} cases, {sum(c['refused'] is not None for c in cases)} refused")
