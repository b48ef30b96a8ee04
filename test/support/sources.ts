/** Every program in the repository that is to parse: sketches, examples, the standard library. */
import { readdirSync, readFileSync } from "node:fs";

const folders = ["test/support/sketches", "dsl-examples", "compiler/core/std"] as const;

export interface Source {
  /** From the repository's root. */
  readonly file: string;
  readonly text: string;
}

export function allSources(): Source[] {
  return folders.flatMap((folder) => {
    const at = new URL(`../../${folder}/`, import.meta.url);
    const files = readdirSync(at).filter((f) => f.endsWith(".mdl"));
    return files.sort().map((f) => ({ file: `${folder}/${f}`, text: readFileSync(new URL(f, at), "utf8") }));
  });
}
