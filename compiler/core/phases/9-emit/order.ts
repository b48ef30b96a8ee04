// The order of kernel texts in a module: what is alike stands together, because compression looks back 32 kB and a training
// step's texts are ten times that. In: texts. Out: their indices, in order.

/** How long the stretches are that texts are compared by, in letters, and one of how many is looked at: of equal ones, all. */
const STRETCH = 16;
const SAMPLE = 4;
/** How much less a stretch counts for each text that it lies further back. */
const FADE = 0.97;
/** A short text is soon like another: all are taken to be longer, by so many stretches. */
const SHORT = 50;

/** Numbers that stand for a text's stretches. */
function stretchesOf(text: string): Set<number> {
  const found = new Set<number>();
  let out = 1;
  for (let i = 1; i < STRETCH; i++) out = Math.imul(out, 31);
  let hash = 0;
  for (let i = 0; i < text.length; i++) {
    if (i >= STRETCH) hash -= Math.imul(out, text.charCodeAt(i - STRETCH));
    hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
    const mixed = Math.imul(hash, 0x9e3779b1) >>> 16;
    if (i >= STRETCH - 1 && mixed % SAMPLE === 0) found.add(hash);
  }
  return found;
}

/** The shortest first; each is followed by the one, of those that are left, of which the latest ones say the largest part. */
export function alikeTogether(texts: readonly string[]): number[] {
  const stretches = texts.map(stretchesOf);
  const holders = new Map<number, number[]>();
  for (const [i, own] of stretches.entries()) {
    for (const s of own) {
      const list = holders.get(s);
      if (list) list.push(i);
      else holders.set(s, [i]);
    }
  }
  const left = new Set(texts.keys());
  const order: number[] = [];
  /** Of each text, how much was said, and lately. */
  const said = texts.map(() => 0);
  const saidAt = new Map<number, number>();
  let next: number | undefined;
  for (const i of left) if (next === undefined || texts[i].length < texts[next].length) next = i;
  while (next !== undefined) {
    left.delete(next);
    order.push(next);
    for (const i of left) said[i] *= FADE;
    for (const s of stretches[next]) {
      const at = saidAt.get(s);
      const more = at === undefined ? 1 : 1 - FADE ** (order.length - at);
      for (const i of holders.get(s) as number[]) said[i] += more;
      saidAt.set(s, order.length);
    }
    next = undefined;
    let best = -1;
    for (const i of left) {
      const part = said[i] / (stretches[i].size + SHORT);
      if (part > best) [best, next] = [part, i];
    }
  }
  return order;
}
