"""Pillow's and NumPy's figures for test/cli/formats.test.ts: pictures of every kind, scaled ones, an archive."""
import base64, io, json
import numpy as np
from pathlib import Path
from PIL import Image
rng = np.random.default_rng(3)
b64 = lambda b: base64.b64encode(b).decode()
def save(im, fmt, **kw):
    f = io.BytesIO(); im.save(f, fmt, **kw); return f.getvalue()
out = {}
f = io.BytesIO(); np.savez_compressed(f, only=np.array([0.5, -1, 2], dtype=np.float32)); out["npz"] = b64(f.getvalue())
png = []
W, H = 7, 5
def add(name, im, data, ch, **kw):
    png.append(dict(name=name, png=b64(save(im, "PNG", **kw)), width=im.width, height=im.height, channels=ch, data=np.asarray(data).astype(int).ravel().tolist()))
rgb = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
add("rgb", Image.fromarray(rgb), rgb, 3)
rgba = rng.integers(0, 256, (H, W, 4), dtype=np.uint8)
add("rgba", Image.fromarray(rgba), rgba, 4)
grey = rng.integers(0, 256, (H, W), dtype=np.uint8)
add("grey", Image.fromarray(grey), grey, 1)
la = rng.integers(0, 256, (H, W, 2), dtype=np.uint8)
add("grey and alpha", Image.fromarray(la, "LA"), la, 2)
g16 = rng.integers(0, 65536, (H, W), dtype=np.uint16)
add("16 bits", Image.fromarray(g16), g16, 1)
bw = Image.fromarray(grey).convert("1", dither=0)
add("1 bit", bw, np.asarray(bw).astype(np.uint8) * 255, 1)
for bits in (1, 2, 4, 8):
    n = 2 ** bits
    idx = rng.integers(0, n, (H, W), dtype=np.uint8)
    pal = rng.integers(0, 256, (n, 3), dtype=np.uint8)
    im = Image.fromarray(idx, "P"); im.putpalette(pal.tobytes())
    add(f"palette of {bits} bits", im, pal[idx], 3, bits=bits)
im = Image.fromarray(idx, "P"); im.putpalette(pal.tobytes())
alpha = np.where(idx == 3, 0, 255)
add("palette with a clear colour", im, np.concatenate([pal[idx], alpha[..., None]], -1), 4, transparency=3)
key = tuple(int(v) for v in rgb[2, 2])
a = np.where((rgb == np.array(key)).all(-1), 0, 255)
add("a clear colour", Image.fromarray(rgb), np.concatenate([rgb, a[..., None]], -1), 4, transparency=key)
smooth = (np.add.outer(np.arange(40), np.arange(30))[..., None] * np.array([3, 2, 1]) % 256).astype(np.uint8)
add("filters", Image.fromarray(smooth[:12, :9]), smooth[:12, :9], 3, optimize=True)
out["png"] = png
y, x = np.mgrid[0:24, 0:32]
pic = np.stack([x * 8, y * 10, (x + y) * 4], -1).clip(0, 255).astype(np.uint8)
j = save(Image.fromarray(pic), "JPEG", quality=90, subsampling=0)
out["jpg"] = dict(jpg=b64(j), width=32, height=24, data=np.asarray(Image.open(io.BytesIO(j))).astype(int).ravel().tolist())
src = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
sizes = []
for (w, h) in [(5, 4), (22, 18), (7, 20), (11, 3)]:
    r = Image.fromarray(src).resize((w, h), Image.BILINEAR)
    sizes.append(dict(width=w, height=h, data=np.asarray(r).astype(int).ravel().tolist()))
out["resize"] = dict(source=dict(width=11, height=9, data=src.astype(int).ravel().tolist()), sizes=sizes)
json.dump(out, open(Path(__file__).parents[1] / "pictures.golden.json", "w"), separators=(",", ":"))
