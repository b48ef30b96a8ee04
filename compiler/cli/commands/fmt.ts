// `mdl fmt`: sources laid out. All files are looked at before one is written; with an error in one of them, none is. Folders
// mean the .mdl files below them, but for node_modules and what is hidden.
import { readdirSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { format } from "../../core/index.ts";
import { EXIT, explain, InputFailure, SourceFailure, UsageError, withSources } from "../failure.ts";
import { readText, sourceName, writeFiles } from "../files.ts";
import { count, harmless, painterFor, styleFor } from "../style.ts";

export interface FmtFlags {
  readonly check?: boolean;
  readonly stdin?: boolean;
}

export async function fmtCommand(paths: readonly string[], flags: FmtFlags): Promise<number> {
  if (flags.stdin) {
    if (paths.length > 1) throw new UsageError("--stdin takes one name at most, for messages");
    return standardInput(paths[0] ?? "standard input", flags.check === true);
  }
  const files = (paths.length ? paths : ["."]).flatMap(sourcesAt);
  const changed: { readonly path: string; readonly data: string }[] = [];
  let faults = 0;
  for (const path of [...new Set(files)]) {
    try {
      const text = readText(path);
      const data = laidOut(text, path);
      if (data !== text) changed.push({ path, data });
    } catch (error) {
      if (!(error instanceof InputFailure || error instanceof SourceFailure)) throw error;
      faults++;
      process.stderr.write(`${explain(error, painterFor(process.stderr), "fmt").text}\n`);
    }
  }
  const style = styleFor(process.stdout);
  const names = changed.map(({ path }) => `${style.cyan(harmless(path))}\n`).join("");
  const all = count(files.length, "file");
  if (flags.check) {
    process.stdout.write(`${names}${all}: ${changed.length} not laid out\n`);
    return faults || changed.length ? EXIT.input : EXIT.done;
  }
  if (faults) {
    process.stderr.write(`${all}: ${count(faults, "file")} with errors, so none was written\n`);
    return EXIT.input;
  }
  await writeFiles(changed);
  process.stdout.write(`${names}${all}: ${changed.length} changed\n`);
  return EXIT.done;
}

function standardInput(name: string, check: boolean): number {
  const text = readText("-");
  const out = laidOut(text, name);
  if (!check) process.stdout.write(out);
  return check && out !== text ? EXIT.input : EXIT.done;
}

const laidOut = (text: string, path: string): string => {
  const file = sourceName(path);
  return withSources(
    (name) => (name === file ? text : undefined),
    () => format(text, file),
  );
};

/** A file as it is named, or the sources below a folder. */
function sourcesAt(path: string): string[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [path];
  const found: string[] = [];
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || entry.name === "node_modules") continue;
    const place = path === "." ? entry.name : join(path, entry.name);
    if (entry.isDirectory()) found.push(...sourcesAt(place));
    else if (entry.isFile() && extname(entry.name) === ".mdl") found.push(place);
  }
  return found.sort();
}
