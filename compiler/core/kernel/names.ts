// Names in a kernel. In: what a backend takes for a name. Out: names of one scope, each given once.

/** What a backend takes for a name. */
export interface Words {
  /** Words that a name must not be: the language's own, and what its printer writes in every kernel. */
  readonly reserved: ReadonlySet<string>;
  /** Any text as an identifier that is none of the printer's helpers. */
  readonly legal: (text: string) => string;
}

export class Names {
  private readonly words: Words;
  private readonly taken = new Set<string>();
  private readonly counts = new Map<string, number>();
  private readonly bases = new Map<string, string>();

  constructor(words: Words) {
    this.words = words;
  }

  /** The word itself where it is free, else the word with a number. */
  fresh(word: string): string {
    let base = this.bases.get(word);
    if (base === undefined) {
      base = this.words.legal(word);
      this.bases.set(word, base);
    }
    let n = this.counts.get(base) ?? 0;
    let name = n === 0 ? base : `${base}_${n}`;
    // A label may itself look like a numbered name.
    while (this.taken.has(name) || this.words.reserved.has(name)) name = `${base}_${++n}`;
    this.counts.set(base, n + 1);
    this.taken.add(name);
    return name;
  }
}
