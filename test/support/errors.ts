/** Checks a file of test/errors as the compiler would: with the standard library and the folder's other files. */
import { existsSync, readFileSync } from "node:fs";
import type { Diagnostic } from "../../compiler/core/diagnostics/index.ts";
import { stdSources } from "../../compiler/core/generated/std.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { type CheckOptions, check } from "../../compiler/core/phases/2-check/check.ts";

const folder = new URL("../errors/", import.meta.url);

export function checkFile(
  file: string,
  text: string,
  options: Pick<CheckOptions, "model" | "set"> = {},
): readonly Diagnostic[] {
  const resolve = (path: string): string | undefined => {
    if (Object.hasOwn(stdSources, path)) return stdSources[path];
    const at = new URL(path, folder);
    return at.pathname.startsWith(folder.pathname) && existsSync(at) ? readFileSync(at, "utf8") : undefined;
  };
  const { model, set } = options;
  return check(text, file, {
    parse,
    resolve,
    ...(model === undefined ? {} : { model }),
    ...(set === undefined ? {} : { set }),
  }).diagnostics;
}
