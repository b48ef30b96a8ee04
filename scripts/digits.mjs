// Digits to train on without downloading anything: a 5 by 7 font drawn into 28 by 28 grey images, moved, scaled, slanted,
// thickened and with noise, the same for the same seed. In: a seed and a number. Out: images and labels as an entry takes
// them.
const FONT = [
  "01110 10001 10011 10101 11001 10001 01110",
  "00100 01100 00100 00100 00100 00100 01110",
  "01110 10001 00001 00010 00100 01000 11111",
  "11111 00010 00100 00010 00001 10001 01110",
  "00010 00110 01010 10010 11111 00010 00010",
  "11111 10000 11110 00001 00001 10001 01110",
  "00110 01000 10000 11110 10001 10001 01110",
  "11111 00001 00010 00100 01000 01000 01000",
  "01110 10001 10001 01110 10001 10001 01110",
  "01110 10001 10001 01111 00001 00010 01100",
].map((glyph) => glyph.split(" ").map((row) => [...row].map(Number)));

export const SIZE = 28;

/** A small generator of uniforms in [0, 1) (mulberry32). */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `n` digits: images f32[n, 1, 28, 28] with values around 0 to 1, and labels i32[n]. */
export function digits(seed, n) {
  const uniform = random(seed);
  const between = (low, high) => low + (high - low) * uniform();
  const x = new Float32Array(n * SIZE * SIZE);
  const y = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    y[i] = Math.floor(uniform() * 10);
    const pixels = x.subarray(i * SIZE * SIZE, (i + 1) * SIZE * SIZE);
    const [width, height] = [between(1.9, 3.4), between(2.0, 3.1)]; // pixels of a dot of the font
    const slant = between(-0.25, 0.25);
    const soft = between(0.35, 0.75);
    const [cx, cy] = [SIZE / 2 + between(-3, 3), SIZE / 2 + between(-3, 3)];
    const [ink, noise] = [between(0.7, 1), between(0.05, 0.35)];
    for (let row = 0; row < SIZE; row++) {
      for (let column = 0; column < SIZE; column++) {
        const v = (row + 0.5 - cy) / height + 3.5;
        const u = (column + 0.5 - cx) / width + slant * (v - 3.5) + 2.5;
        pixels[row * SIZE + column] =
          ink * stroke(FONT[y[i]], u - 0.5, v - 0.5, soft) + noise * (uniform() + uniform() - 1);
      }
    }
  }
  return { x, y };
}

/** `n` digits as MNIST's two files have them: images of bytes, and labels. */
export function digitFiles(seed, n) {
  const { x, y } = digits(seed, n);
  const file = (shape, data) => {
    const head = new DataView(new ArrayBuffer(4 + 4 * shape.length));
    head.setUint32(0, 0x800 + shape.length);
    shape.forEach((size, i) => {
      head.setUint32(4 + 4 * i, size);
    });
    return Buffer.concat([new Uint8Array(head.buffer), data]);
  };
  const pixels = Uint8Array.from(x, (v) => Math.round(255 * Math.min(1, Math.max(0, v))));
  return { pixels, labels: y, images: file([n, SIZE, SIZE], pixels), classes: file([n], Uint8Array.from(y)) };
}

/** How much ink there is at a place between the dots: bilinear, with an edge between soft and hard. */
function stroke(glyph, u, v, soft) {
  const dot = (row, column) => glyph[row]?.[column] ?? 0;
  const [c, r] = [Math.floor(u), Math.floor(v)];
  const [fu, fv] = [u - c, v - r];
  const value =
    (1 - fv) * ((1 - fu) * dot(r, c) + fu * dot(r, c + 1)) +
    fv * ((1 - fu) * dot(r + 1, c) + fu * dot(r + 1, c + 1));
  return Math.min(1, Math.max(0, (value - 0.5) / soft + 0.5));
}

/** An image as 14 lines of text, two rows of pixels each. */
export function picture(image) {
  const shades = " .:-=+*#%@";
  const lines = [];
  for (let row = 0; row < SIZE; row += 2) {
    let line = "";
    for (let column = 0; column < SIZE; column++) {
      const value = (image[row * SIZE + column] + image[(row + 1) * SIZE + column]) / 2;
      line += shades[Math.min(9, Math.max(0, Math.floor(value * 10)))];
    }
    lines.push(line);
  }
  return lines;
}
