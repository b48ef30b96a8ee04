// The standard library's text as far as a program needs it: parsing all of it would take longer than checking most models. In:
// a library file's text and names. Out: the same text with blanks in place of what was not asked for, so that every place in
// it stays what it is.

interface Part {
  readonly start: number;
  readonly end: number;
}

export class Library {
  private readonly parts = new Map<string, Part>();
  private readonly taken = new Set<string>();
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
    const heads = [...text.matchAll(/^(?:(?:layer|model|optimizer|fn|op) )?(\w+)/gm)];
    heads.forEach((h, i) => {
      const end = i + 1 < heads.length ? heads[i + 1].index : text.length;
      this.parts.set(h[1], { start: h.index, end });
    });
  }

  /** Whether every line that begins at the margin is a declaration or a comment: else the file is read as a whole. */
  static divides(text: string): boolean {
    return !/^(?:import|train|private)\b/m.test(text);
  }

  names(): Iterable<string> {
    return this.parts.keys();
  }

  /** The declarations of these names and of what they name, but for what was taken before. */
  take(names: Iterable<string>): string {
    const wanted: Part[] = [];
    const open = [...names];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const part = this.parts.get(name);
      if (!part || this.taken.has(name)) continue;
      this.taken.add(name);
      wanted.push(part);
      for (const [word] of this.text.slice(part.start, part.end).matchAll(/\b[A-Za-z_]\w*/g))
        if (this.parts.has(word)) open.push(word);
    }
    let out = "";
    let at = 0;
    for (const { start, end } of wanted.sort((a, b) => a.start - b.start)) {
      out += blank(this.text.slice(at, start));
      // Comments at the margin are the next declaration's.
      out += this.text.slice(start, end).replace(/^\/\/.*$/gm, blank);
      at = end;
    }
    return out;
  }
}

const blank = (text: string): string => text.replace(/[^\r\n]+/g, (line) => " ".repeat(line.length));
