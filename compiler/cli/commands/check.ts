// `mdl check`: what there is to say about sources, without compiling them. All files are looked at; a file that cannot be
// read is said and does not end the run.
import { check, type JsonDiagnostic, renderAll, type SetValue, toJSON } from "../../core/index.ts";
import { EXIT, InputFailure } from "../failure.ts";
import { SourceFiles } from "../files.ts";
import { count, harmless, painterFor } from "../style.ts";

export interface CheckFlags {
  readonly json?: boolean;
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
}

export function checkCommand(paths: readonly string[], flags: CheckFlags): number {
  const json: (JsonDiagnostic | { file: string; severity: "error"; code: null; message: string })[] = [];
  const paint = painterFor(process.stdout);
  const blocks: string[] = [];
  let errors = 0;
  let warnings = 0;
  for (const path of paths) {
    try {
      const files = new SourceFiles(path);
      const { diagnostics: found } = check(files.text, files.file, {
        resolve: files.resolve,
        model: flags.model,
        set: flags.set,
      });
      errors += found.filter((d) => d.severity === "error").length;
      warnings += found.filter((d) => d.severity === "warning").length;
      json.push(...toJSON(found, files.source));
      if (found.length) blocks.push(renderAll(found, files.source, paint));
    } catch (error) {
      if (!(error instanceof InputFailure)) throw error;
      errors++;
      json.push({ file: path, severity: "error", code: null, message: error.message });
      blocks.push(`${paint.error("error")}${paint.strong(`: ${harmless(error.message)}`)}\n`);
    }
  }
  if (flags.json) process.stdout.write(`${jsonText(json)}\n`);
  else {
    const found = [errors ? count(errors, "error") : "", warnings ? count(warnings, "warning") : ""].filter(
      Boolean,
    );
    const end = `${count(paths.length, "file")}: ${found.join(", ") || "no errors"}`;
    process.stdout.write(`${[...blocks, end].join("\n")}\n`);
  }
  return errors ? EXIT.input : EXIT.done;
}

/** JSON with whatever a terminal might obey written as escapes, which means the same to who reads JSON. */
const jsonText = (value: unknown): string =>
  JSON.stringify(value, null, 2).replace(
    /[\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
