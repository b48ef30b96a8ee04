// The order of kernel texts in a module: what is alike stands together, because compression looks back 32 kB and a training
// step's texts are ten times that. In: texts. Out: their indices, in order.

/** Lines that say something: not those of comments. */
const linesOf = (text: string): Set<string> =>
  new Set(text.split(/[;{}\n]/).flatMap((line) => (/^\s*(\/\/|$)/.test(line) ? [] : [line.trim()])));

/** How many texts back are looked at, and how much less each of them counts. */
const BACK = 6;
const FADE = 0.8;

/** The shortest first; each is followed by the one, of those that are left, of which the latest ones say the largest part. */
export function alikeTogether(texts: readonly string[]): number[] {
  const lines = texts.map(linesOf);
  const left = new Set(texts.keys());
  const order: number[] = [];
  let next: number | undefined;
  for (const i of left) if (next === undefined || texts[i].length < texts[next].length) next = i;
  while (next !== undefined) {
    left.delete(next);
    order.push(next);
    const said = new Map<string, number>();
    const latest = order.slice(-BACK);
    latest.forEach((i, k) => {
      for (const line of lines[i]) said.set(line, FADE ** (latest.length - 1 - k) * line.length);
    });
    let best = -1;
    next = undefined;
    for (const i of left) {
      let shared = 0;
      for (const line of lines[i]) shared += said.get(line) ?? 0;
      // A short text is soon like another.
      const likeness = shared / (texts[i].length + 200);
      if (likeness > best) [best, next] = [likeness, i];
    }
  }
  return order;
}
