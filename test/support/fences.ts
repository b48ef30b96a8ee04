// Fenced blocks of a page. In: its path from the repository's root. Out: language, kind (the word behind it), text and line.
import { projectFile } from "./files.ts";

export interface Fence {
  readonly language: string;
  readonly kind: string | undefined;
  readonly body: string;
  readonly line: number;
}

export function fencesOf(page: string): Fence[] {
  const text = projectFile(page);
  return [...text.matchAll(/^```(\S+)(?: (\S+))?\n([\s\S]*?)^```$/gm)].map((found) => {
    const [, language, kind, body] = found;
    return { language, kind, body, line: text.slice(0, found.index).split("\n").length };
  });
}
