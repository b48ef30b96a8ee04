// `mdl gradcheck`: are the gradients of the user's own model right? In: a source, an entry or training step, inputs (drawn where
// none are given). Each gradient on the GPU is compared with the reference evaluator's in double precision, and that with finite
// differences of the reference at a few elements. Out: a table; where something differs, the first line that does.
import { runAgainQuietly } from "../../../runtime/node/index.ts";
import { type Diagnostic, renderAll } from "../../core/index.ts";
import { type CallFlags, entryNamed, openCall, openSource } from "../debug/call.ts";
import { type Checked, checkGradients } from "../debug/gradcheck.ts";
import type { Where } from "../debug/observe.ts";
import { placesIn } from "../debug/show.ts";
import { short } from "../debug/stats.ts";
import { EXIT, InputFailure } from "../failure.ts";
import { shapeText } from "../print-tensor.ts";
import { count, harmless, painterFor, type Style, styleFor, table } from "../style.ts";

export interface GradcheckFlags extends CallFlags, Where {
  readonly samples: number;
  readonly tolerance?: number;
  readonly json?: true;
}

/** The exit code: 1 where gradients differ. */
export async function gradcheckCommand(
  file: string,
  name: string | undefined,
  flags: GradcheckFlags,
): Promise<number> {
  const source = openSource(file, flags, "gradcheck");
  const only = source.checked.trains.length === 1 ? "train" : undefined;
  const entry = entryNamed(source, name ?? only, "gradcheck");
  if (flags.device !== "cpu") {
    const code = await runAgainQuietly();
    if (code !== undefined) return code;
  }
  const opened = await openCall(source, entry, () => true, flags);
  const checked = await checkGradients(source, opened, entry, flags);
  if (checked.gradients.length === 0)
    throw new InputFailure(
      `${entry} has no gradients: nothing in it is a parameter or an input that is a float`,
    );
  const problems: readonly Diagnostic[] = checked.problem ? [checked.problem] : [];
  if (flags.json) {
    const place = placesIn(source.sources, source.file);
    const json = {
      model: opened.model.name,
      entry,
      by: checked.by,
      loss: checked.loss,
      gradients: checked.gradients.map(({ result, ...g }) => ({
        ...g,
        dtype: result.dtype,
        shape: result.shape,
      })),
      problems: problems.map((p) => ({
        code: p.code,
        message: p.message,
        place: place(p.primary.span),
        notes: p.notes,
      })),
    };
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
  } else {
    process.stdout.write(
      `${harmless(report(opened.model.name, entry, checked, styleFor(process.stdout)))}\n`,
    );
    if (problems.length > 0)
      process.stderr.write(`\n${renderAll(problems, source.sources, painterFor(process.stderr))}`);
  }
  return checked.right ? EXIT.done : EXIT.input;
}

function report(
  model: string,
  entry: string,
  { by, loss, gradients, samples, right }: Checked,
  style: Style,
): string {
  const error = (x: number | undefined, fine: boolean | undefined): string =>
    x === undefined ? "" : fine ? x.toExponential(1) : style.red(x.toExponential(1));
  const rows = gradients.map((g) => [
    g.fine ? g.name : style.red(g.name),
    style.cyan(shapeText(g.result)),
    short(g.largest),
    ...(by === undefined ? [] : [error(g.device, g.deviceFine)]),
    error(g.differences, g.differencesFine),
    g.fine ? style.green("ok") : style.red("differs"),
  ]);
  const head = ["gradient by", "type", "largest", ...(by === undefined ? [] : [by]), "differences", ""];
  const right_ = [2, 3, ...(by === undefined ? [] : [4])];
  return [
    `${style.bold(`${model} ${entry}`)} ${style.dim(`loss ${short(loss)}; errors are parts of the largest element, against the reference in double precision`)}`,
    table([head.map((h) => style.dim(h)), ...rows], right_),
    right
      ? `${count(gradients.length, "gradient")} right, by finite differences at ${count(samples, "element")}`
      : `${count(gradients.filter((g) => !g.fine).length, "gradient")} of ${gradients.length} differ`,
  ].join("\n");
}
