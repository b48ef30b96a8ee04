/**
 * Places in source text. In: offsets. Out: spans, and lines and columns for people. Separate from
 * report.ts because every phase and the graph IR carry spans, and few of them render anything.
 */

/** A half-open range of UTF-16 offsets in one file, as `String.prototype.slice` takes them. */
export interface Span {
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

/** Line and column, both from 1; a column counts UTF-16 units, as editors do. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

export function span(file: string, start: number, end: number): Span {
  return { file, start, end };
}

/** From the start of `a` to the end of `b`, which must be in the same file. */
export function cover(a: Span, b: Span): Span {
  return { file: a.file, start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/** The offsets at which the lines of a text begin; a line ends with \n, \r\n or a lone \r. */
export class LineMap {
  readonly text: string;
  readonly starts: readonly number[];

  constructor(text: string) {
    const starts = [0];
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 10 || (c === 13 && text.charCodeAt(i + 1) !== 10)) starts.push(i + 1);
    }
    this.text = text;
    this.starts = starts;
  }

  position(offset: number): Position {
    const at = Math.max(0, Math.min(offset, this.text.length));
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= at) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: at - this.starts[low] + 1 };
  }

  /** The text of a line (from 1) without its end. */
  line(line: number): string {
    const start = this.starts[line - 1] ?? this.text.length;
    const end = this.starts[line] ?? this.text.length;
    return this.text.slice(start, end).replace(/[\r\n]+$/, "");
  }
}
