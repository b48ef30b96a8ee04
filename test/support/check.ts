// What tests of the checker share: check a text with the standard library at hand, and say plainly what went wrong.

import { type Diagnostic, renderAll } from "../../compiler/core/diagnostics/index.ts";
import { stdSources } from "../../compiler/core/generated/std.ts";
import type { CheckedModel } from "../../compiler/core/model.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { type CheckOptions, type CheckResult, check } from "../../compiler/core/phases/2-check/check.ts";

type Options = Partial<CheckOptions> & { readonly files?: Readonly<Record<string, string>> };

export function checkText(source: string, options: Options = {}): CheckResult {
  const { files = {}, ...rest } = options;
  const resolve = (path: string): string | undefined =>
    Object.hasOwn(files, path) ? files[path] : Object.hasOwn(stdSources, path) ? stdSources[path] : undefined;
  return check(source, "main.mdl", { resolve, parse, ...rest });
}

/** The one model of a text without errors. */
export function modelOf(source: string, options: Options = {}): CheckedModel {
  const result = checkText(source, options);
  if (!result.models) {
    const text = renderAll(result.diagnostics, (f) => (f === "main.mdl" ? source : stdSources[f]));
    throw new Error(`expected a model:\n${text}`);
  }
  if (result.models.length !== 1) throw new Error(`expected one model, got ${result.models.length}`);
  return result.models[0];
}

/** `E0302 message` of each error (warnings too where asked). */
export function errorsOf(source: string, options: Options = {}): string[] {
  return checkText(source, options)
    .diagnostics.filter((d: Diagnostic) => d.severity === "error")
    .map((d) => `${d.code} ${d.message}`);
}

/** An entry's results as `name: f32[N, 10]`. */
export function resultsOf(model: CheckedModel, entry: string): string[] {
  const e = model.entries.find((x) => x.name === entry);
  if (!e) throw new Error(`no entry ${entry}; there are ${model.entries.map((x) => x.name).join(", ")}`);
  return e.outputs.map((o) => `${o.name}: ${o.type.dtype}[${o.type.shape.map((d) => d.key).join(", ")}]`);
}
