// `mdl doc`: what the standard library, or a source of one's own, says of its declarations.
import { existsSync } from "node:fs";
import { closest, type DocumentedFile, documented, libraryModules } from "../../core/index.ts";
import { fileMarkdown, fileText, itemMarkdown, itemText, listText } from "../document.ts";
import { InputFailure, UsageError, withSources } from "../failure.ts";
import { SourceFiles } from "../files.ts";
import { harmless, styleFor } from "../style.ts";

export interface DocFlags {
  readonly markdown?: boolean;
}

export function docCommand(where: string | undefined, name: string | undefined, flags: DocFlags): void {
  const style = styleFor(process.stdout);
  const std = libraryModules();
  if (where === undefined) {
    if (flags.markdown) process.stdout.write(std.map(([m, file]) => fileMarkdown(file, m)).join("\n"));
    else
      process.stdout.write(
        `${std.map(([m, file]) => listText(file, m, style)).join("\n")}\nmdl doc NAME says all about one\n`,
      );
    return;
  }
  const module = std.find(([m]) => m === where);
  const isFile = !module && (existsSync(where) || /\.mdl$/i.test(where) || where === "-");
  // `mdl doc Linear` is a name of the library.
  if (!module && !isFile) {
    if (name !== undefined)
      throw new UsageError(
        `${where} is no module of the library (${std.map(([m]) => m).join(", ")}) and no file`,
      );
    show(std, where, "the standard library", flags, style);
    return;
  }
  const file = module?.[1] ?? fileOf(where);
  if (name !== undefined) show([[where, file]], name, where, flags, style);
  else print(flags.markdown ? fileMarkdown(file, where) : fileText(file, where, style));
}

function fileOf(path: string): DocumentedFile {
  const files = new SourceFiles(path);
  return withSources(files.source, () => documented(files.text, files.file));
}

function show(
  files: readonly (readonly [string, DocumentedFile])[],
  name: string,
  where: string,
  flags: DocFlags,
  style: ReturnType<typeof styleFor>,
): void {
  const found = files.flatMap(([, { items }]) => items.filter((i) => i.name === name));
  if (found.length === 0) {
    const near = closest(
      name,
      files.flatMap(([, { items }]) => items.map((i) => i.name)),
    );
    throw new InputFailure(`there is no ${name} in ${where}${near ? `; did you mean ${near}?` : ""}`);
  }
  const texts = found.map((i) => (flags.markdown ? itemMarkdown(i) : itemText(i, style).join("\n")));
  print(`${texts.join("\n\n")}\n`);
}

const print = (text: string): void => void process.stdout.write(harmlessLines(text));
/** Colours are ours; the rest is the file's. */
const harmlessLines = (text: string): string => (process.stdout.isTTY ? text : harmless(text));
