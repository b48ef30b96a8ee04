// The order of kernel texts in a module: what is alike stands together, because compression looks back 32 kB and a training
// step's texts are ten times that. In: texts. Out: their indices, in order.

/** How long the stretches are that texts are compared by, in letters, and one of how many is looked at: of equal ones, all. */
const STRETCH = 16;
const SAMPLE = 4;
/** How much less a stretch counts for each text that it lies further back. */
const FADE = 0.97;
/** A short text is soon like another: all are taken to be longer, by so many stretches. */
const SHORT = 50;

/** What texts are made of. */
interface Stretches {
  /** How many each has. */
  readonly sizes: readonly number[];
  /** Of each text, those that others have, too, by numbers. */
  readonly shared: readonly (readonly number[])[];
  /** Who has them. */
  readonly holders: readonly (readonly number[])[];
}
function stretchesOf(texts: readonly string[]): Stretches {
  const numbers = new Map<number, number>();
  const holders: number[][] = [];
  const all = texts.map((text, nth) => {
    const found: number[] = [];
    let out = 1;
    for (let i = 1; i < STRETCH; i++) out = Math.imul(out, 31);
    let hash = 0;
    for (let i = 0; i < text.length; i++) {
      if (i >= STRETCH) hash -= Math.imul(out, text.charCodeAt(i - STRETCH));
      hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
      const mixed = Math.imul(hash, 0x9e3779b1) >>> 16;
      if (i < STRETCH - 1 || mixed % SAMPLE !== 0) continue;
      let n = numbers.get(hash);
      if (n === undefined) {
        n = holders.push([]) - 1;
        numbers.set(hash, n);
      }
      const list = holders[n];
      if (list[list.length - 1] === nth) continue;
      list.push(nth);
      found.push(n);
    }
    return found;
  });
  const shared = all.map((own) => own.filter((n) => holders[n].length > 1));
  return { sizes: all.map((own) => own.length), shared, holders };
}

/** The shortest first; each is followed by the one, of those that are left, of which the latest ones say the largest part. */
export function alikeTogether(texts: readonly string[]): number[] {
  const { sizes, shared, holders } = stretchesOf(texts);
  const left = new Set(texts.keys());
  const order: number[] = [];
  /** Of each text, how much was said, and lately. */
  const said = new Float64Array(texts.length);
  /** By stretches: after how many texts; 0 is never. */
  const saidAt = new Int32Array(holders.length);
  const again = texts.map((_, n) => 1 - FADE ** n);
  let next: number | undefined;
  for (const i of left) if (next === undefined || texts[i].length < texts[next].length) next = i;
  while (next !== undefined) {
    left.delete(next);
    order.push(next);
    for (const i of left) said[i] *= FADE;
    for (const s of shared[next]) {
      const more = saidAt[s] === 0 ? 1 : again[order.length - saidAt[s]];
      for (const i of holders[s]) said[i] += more;
      saidAt[s] = order.length;
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
