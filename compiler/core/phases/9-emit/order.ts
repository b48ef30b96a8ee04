// The order of kernel texts in a module: what is alike stands together, because compression looks back 32 kB and a training
// step's texts are ten times that. In: texts. Out: their indices, in order.

/** Lines that say something: not those of comments. */
const linesOf = (text: string): Set<string> =>
  new Set(text.split(/[;{}\n]/).flatMap((line) => (/^\s*(\/\/|$)/.test(line) ? [] : [line.trim()])));

/** The shortest first; each is followed by the one that is most like it, of those that are left. */
export function alikeTogether(texts: readonly string[]): number[] {
  const lines = texts.map(linesOf);
  const having = new Map<string, number[]>();
  lines.forEach((own, i) => {
    for (const line of own) {
      const all = having.get(line);
      if (all) all.push(i);
      else having.set(line, [i]);
    }
  });
  const left = new Set(texts.keys());
  const order: number[] = [];
  let next: number | undefined;
  for (const i of left) if (next === undefined || texts[i].length < texts[next].length) next = i;
  while (next !== undefined) {
    const last: number = next;
    left.delete(last);
    order.push(last);
    const shared = new Float64Array(texts.length);
    for (const line of lines[last]) for (const i of having.get(line) ?? []) shared[i] += line.length;
    let best = -1;
    next = undefined;
    for (const i of left) {
      const likeness = shared[i] / (texts[i].length + texts[last].length);
      if (likeness > best) [best, next] = [likeness, i];
    }
  }
  return order;
}
