// The order of kernel texts in a module: what is alike stands together, because compression looks back 32 kB and a training
// step's texts are ten times that. In: texts. Out: their indices, in order.

/** How long the stretches are that texts are compared by, in letters, and one of how many is looked at: of equal ones, all. */
const STRETCH = 16;
const SAMPLE = 4;
/** How much less a stretch counts for each text that it lies further back. */
const FADE = 0.97;
/** A short text is soon like another: all are taken to be longer, by so many stretches. */
const SHORT = 50;

/** What texts are made of. Stretches that the same texts have are one class: a few thousand, of a quarter of a million. */
interface Stretches {
  /** How many stretches each text has. */
  readonly sizes: readonly number[];
  /** Of each text, the classes that others have, too. */
  readonly shared: readonly (readonly number[])[];
  /** By classes: who has its stretches, and how many those are. */
  readonly holders: readonly (readonly number[])[];
  readonly weights: Int32Array;
}
function stretchesOf(texts: readonly string[]): Stretches {
  const hashes = texts.map(hashesOf);
  const most = hashes.reduce((n, own) => n + own.length, 0);
  // A table of hashes, half empty: at a place the hash, and one more than its number.
  const room = 2 ** Math.ceil(Math.log2(2 * most + 1));
  const hashAt = new Int32Array(room);
  const numberAt = new Int32Array(room);
  let count = 0;
  /** By stretches: one more than the last text that has it, and the class by the texts so far. */
  const last = new Int32Array(most);
  const classOf = new Int32Array(most);
  /** By classes: which one it is with this text, and one more than the text for which that was said. */
  const withText = new Int32Array(most + 1);
  const saidFor = new Int32Array(most + 1);
  let classes = 1;
  const all = hashes.map((own, nth) => {
    const found: number[] = [];
    for (const hash of own) {
      // The lower bits say the last letters alone.
      let at = (hash ^ (hash >>> 15)) & (room - 1);
      while (numberAt[at] !== 0 && hashAt[at] !== hash) at = (at + 1) & (room - 1);
      if (numberAt[at] === 0) {
        hashAt[at] = hash;
        numberAt[at] = ++count;
      }
      const n = numberAt[at] - 1;
      if (last[n] === nth + 1) continue;
      last[n] = nth + 1;
      const before = classOf[n];
      if (saidFor[before] !== nth + 1) {
        saidFor[before] = nth + 1;
        withText[before] = classes++;
      }
      classOf[n] = withText[before];
      found.push(n);
    }
    return found;
  });
  const weights = new Int32Array(classes);
  for (let n = 0; n < count; n++) weights[classOf[n]]++;
  const holders: number[][] = Array.from(weights, () => []);
  const own = all.map((found, nth) => {
    const list: number[] = [];
    for (const n of found) {
      const by = holders[classOf[n]];
      if (by[by.length - 1] === nth) continue;
      by.push(nth);
      list.push(classOf[n]);
    }
    return list;
  });
  const shared = own.map((list) => list.filter((c) => holders[c].length > 1));
  return { sizes: all.map((found) => found.length), shared, holders, weights };
}

/** Hashes of the stretches of a text that are looked at. */
function hashesOf(text: string): number[] {
  const found: number[] = [];
  let out = 1;
  for (let i = 1; i < STRETCH; i++) out = Math.imul(out, 31);
  let hash = 0;
  for (let i = 0; i < text.length; i++) {
    if (i >= STRETCH) hash -= Math.imul(out, text.charCodeAt(i - STRETCH));
    hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    if (i >= STRETCH - 1 && (Math.imul(hash, 0x9e3779b1) >>> 16) % SAMPLE === 0) found.push(hash);
  }
  return found;
}

/** The shortest first; each is followed by the one, of those that are left, of which the latest ones say the largest part. */
export function alikeTogether(texts: readonly string[]): number[] {
  const { sizes, shared, holders, weights } = stretchesOf(texts);
  const left = new Set(texts.keys());
  const order: number[] = [];
  /** Of each text, how much was said, and lately. */
  const said = new Float64Array(texts.length);
  /** By classes: after how many texts; 0 is never. */
  const saidAt = new Int32Array(holders.length);
  const again = texts.map((_, n) => 1 - FADE ** n);
  let next: number | undefined;
  for (const i of left) if (next === undefined || texts[i].length < texts[next].length) next = i;
  while (next !== undefined) {
    left.delete(next);
    order.push(next);
    for (const i of left) said[i] *= FADE;
    for (const c of shared[next]) {
      const more = weights[c] * (saidAt[c] === 0 ? 1 : again[order.length - saidAt[c]]);
      for (const i of holders[c]) said[i] += more;
      saidAt[c] = order.length;
    }
    next = undefined;
    let best = -1;
    for (const i of left) {
      const part = said[i] / (sizes[i] + SHORT);
      if (part > best) [best, next] = [part, i];
    }
  }
  return order;
}
