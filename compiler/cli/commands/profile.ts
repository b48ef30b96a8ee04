// `mdl profile`: where the time of a call goes, kernel by kernel, against what the device can do. In: a source or a module, an
// entry, inputs (drawn where none are given). Out: a table; with --trace a file for Chrome or Perfetto, with --json all figures.
import type { NetBase, Profile } from "../../../runtime/core/api.ts";
import type { EntryPlan } from "../../../runtime/core/program.ts";
import { isSoftwareAdapter, requestExactGpu, runAgainQuietly } from "../../../runtime/node/index.ts";
import { drawInputs, type Sizes, sizesOf } from "../draw.ts";
import { UsageError } from "../failure.ts";
import { writeFiles } from "../files.ts";
import { parseArgument, readInputs, type Value } from "../inputs.ts";
import { type Ceilings, measureCeilings } from "../profile/ceilings.ts";
import { traceText } from "../profile/trace.ts";
import {
  type ChoiceFlags,
  callsOf,
  compileSource,
  entryOf,
  importModule,
  isModule,
  refuseChoices,
} from "../runnable.ts";
import { bytesText, count, harmless, type Style, styleFor, table } from "../style.ts";
import { byPath, loadWeights } from "../weights.ts";

export interface ProfileFlags extends ChoiceFlags {
  readonly weights?: string;
  readonly input?: readonly string[];
  readonly size?: Sizes;
  readonly runs: number;
  readonly top: number;
  readonly trace?: string;
  readonly json?: string;
}

/** Of a step: what a schedule is told. No figure here depends on it. */
const TOTAL_STEPS = 1000;

type Call = (inputs: Readonly<Record<string, Value>>) => Promise<unknown>;

export async function profileCommand(
  file: string,
  name: string | undefined,
  flags: ProfileFlags,
): Promise<number | undefined> {
  const made = isModule(file);
  refuseChoices(file, flags);
  const code = await runAgainQuietly();
  if (code !== undefined) return code;
  const wanted = name === "train" ? "train_step" : name;
  const { artefact, load } = made ? await importModule(file) : compileSource(file, wanted, flags, "profile");
  const entry = entryOf(artefact, wanted);
  const sizes = sizesOf(entry, flags.size ?? {});
  const values = inputsOf(entry, sizes, flags);
  const weights = flags.weights === undefined ? undefined : await loadWeights(artefact, flags.weights);
  await requestExactGpu();
  const net = await load({
    weights: weights && byPath(weights),
    target: flags.target,
    entries: [entry.name],
    train: { totalSteps: TOTAL_STEPS },
  });
  try {
    const figures = await measure(net, entry, values, flags.runs);
    const device = net.device as unknown as GPUDevice;
    const { adapterInfo: info } = device;
    const ceilings = await measureCeilings(device, isSoftwareAdapter(info));
    const about: About = {
      entry: entry.name,
      target: net.target,
      device: info.description || info.device || [info.vendor, info.architecture].join(" ").trim() || "GPU",
      sizes,
      figures,
      ceilings,
    };
    process.stdout.write(`${harmless(report(about, flags.top, styleFor(process.stdout)))}\n`);
    await writeFigures(about, flags);
  } finally {
    net.dispose();
  }
  return undefined;
}

/** What was given, or drawn at the sizes that were named. */
function inputsOf(entry: EntryPlan, sizes: ReadonlyMap<string, number>, flags: ProfileFlags) {
  if (flags.input === undefined) return drawInputs(entry, sizes, 1);
  if (flags.size !== undefined)
    throw new UsageError("--size is of inputs that are drawn, and --input gives them");
  return readInputs(entry, flags.input.map(parseArgument)).values;
}

interface Row {
  readonly kernel: string;
  readonly site: string;
  readonly groups: number;
  readonly flops: number;
  readonly bytes: number;
  readonly microseconds: number;
}
interface Figures {
  readonly by: Profile["by"];
  /** Medians. */
  readonly rows: readonly Row[];
  /** Milliseconds of a whole call with its readback, and of it our own work before the GPU has it; medians. */
  readonly call: number;
  readonly host: number;
}
interface About {
  readonly entry: string;
  readonly target: string;
  readonly device: string;
  readonly sizes: ReadonlyMap<string, number>;
  readonly figures: Figures;
  readonly ceilings: Ceilings;
}

async function measure(
  net: NetBase,
  entry: EntryPlan,
  values: Readonly<Record<string, Value>>,
  runs: number,
): Promise<Figures> {
  const call = callsOf<Call>(net)[entry.name];
  const whole: number[] = [];
  const host: number[] = [];
  // The first call makes plans and, on some drivers, compiles.
  for (let i = 0; i <= runs; i++) {
    const watch = watchSubmits(net.device as unknown as GPUDevice);
    const since = performance.now();
    const result = await call(values);
    const { read } = result as { readonly read?: () => Promise<unknown> };
    if (entry.train && read) await read.call(result);
    const end = performance.now();
    const submitted = watch.stop();
    if (i === 0) continue;
    whole.push(end - since);
    if (submitted !== undefined) host.push(submitted - since);
  }
  const profiles: Profile[] = [];
  for (let i = 0; i <= runs; i++) profiles.push(await net.profile(entry.name, values));
  const measured = profiles.slice(1);
  const [{ rows, by }] = measured;
  return {
    by,
    rows: rows.map(({ kernel, label, groups, flops, bytes }, i) => ({
      kernel,
      site: label.startsWith(`${kernel} `) ? label.slice(kernel.length + 1) : label === kernel ? "" : label,
      groups,
      flops,
      bytes,
      microseconds: median(measured.map((p) => p.rows[i].microseconds)),
    })),
    call: median(whole),
    host: median(host),
  };
}

/** When `submit` returned last, if it was called at all. */
function watchSubmits(device: GPUDevice): { stop(): number | undefined } {
  const queue = device.queue;
  const own = Object.getOwnPropertyDescriptor(queue, "submit");
  const { submit } = queue;
  let last: number | undefined;
  Object.defineProperty(queue, "submit", {
    configurable: true,
    value: (commands: Iterable<GPUCommandBuffer>) => {
      submit.call(queue, commands);
      last ??= performance.now();
    },
  });
  return {
    stop() {
      if (own) Object.defineProperty(queue, "submit", own);
      else delete (queue as { submit?: unknown }).submit;
      return last;
    },
  };
}

const median = (list: readonly number[]): number => {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length === 0
    ? Number.NaN
    : sorted.length % 2
      ? sorted[middle]
      : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** In units of 1e9 a second. */
const rate = (amount: number, microseconds: number): number =>
  microseconds > 0 ? amount / microseconds / 1e3 : 0;
const time = (microseconds: number): string =>
  microseconds >= 1000 ? `${(microseconds / 1000).toFixed(2)} ms` : `${microseconds.toFixed(1)} µs`;
const percent = (x: number): string => `${Math.round(100 * x)} %`;

function report(
  { entry, target, device, sizes, figures, ceilings }: About,
  top: number,
  style: Style,
): string {
  const { rows, by, call, host } = figures;
  const total = rows.reduce((n, r) => n + r.microseconds, 0);
  const at = [...sizes].map(([k, n]) => `${k} = ${n}`).join(", ");
  const slowest = rows
    .map((r, i) => ({ ...r, i }))
    .sort((a, b) => b.microseconds - a.microseconds)
    .slice(0, top);
  const lines = [
    `${style.bold(entry)}${at ? ` at ${at}` : ""} on ${device}, target ${target}`,
    "",
    table(
      [
        ["#", "time", "share", "GFLOP/s", "GB/s", "of the ceiling", "workgroups", "kernel", "where"].map(
          (h) => style.dim(h),
        ),
        ...slowest.map((r) => {
          const [flops, bytes] = [rate(r.flops, r.microseconds), rate(r.bytes, r.microseconds)];
          const near = Math.max(flops / ceilings.gflops, bytes / ceilings.gbs);
          const which = flops / ceilings.gflops >= bytes / ceilings.gbs ? "arithmetic" : "memory";
          return [
            String(r.i),
            time(r.microseconds),
            percent(r.microseconds / total),
            flops.toFixed(1),
            bytes.toFixed(1),
            `${percent(near)} ${which}`,
            String(r.groups),
            style.cyan(r.kernel),
            r.site,
          ];
        }),
      ],
      [0, 1, 2, 3, 4, 5, 6],
    ),
  ];
  if (rows.length > slowest.length) {
    const rest = rows.length - slowest.length;
    const left = total - slowest.reduce((n, r) => n + r.microseconds, 0);
    lines.push(`  and ${count(rest, "other")}, ${time(left)} together; --top ${rows.length} shows them all`);
  }
  lines.push(
    "",
    `${count(rows.length, "command")}, ${time(total)} on the GPU by ${by === "timestamps" ? "its timestamps" : "the host's clock, with what a submit costs"}`,
    `a call takes ${time(call * 1000)} with its readback${Number.isNaN(host) ? "" : `, of it ${time(host * 1000)} of JavaScript until it is submitted`}`,
    `the device's ceilings, measured: ${ceilings.gflops.toFixed(0)} GFLOP/s, ${ceilings.gbs.toFixed(1)} GB/s (copying)`,
    `bytes are those bound, each once: ${bytesText(rows.reduce((n, r) => n + r.bytes, 0))} in all`,
  );
  return lines.join("\n");
}

async function writeFigures(about: About, { trace, json }: ProfileFlags): Promise<void> {
  const { entry, target, device, sizes, figures, ceilings } = about;
  const files = [];
  if (trace !== undefined) {
    const rows = figures.rows.map(({ kernel, site, groups, flops, bytes, microseconds }) => ({
      kernel,
      site,
      microseconds,
      details: {
        workgroups: groups,
        "GFLOP/s": rate(flops, microseconds),
        "GB/s": rate(bytes, microseconds),
      },
    }));
    files.push({ path: trace, data: traceText(entry, `${device} (${target})`, figures.host * 1000, rows) });
  }
  if (json !== undefined) {
    const { by, call, host, rows } = figures;
    const all = {
      entry,
      target,
      device,
      sizes: Object.fromEntries(sizes),
      by,
      call_ms: call,
      host_ms: host,
      ceilings,
      rows,
    };
    files.push({ path: json, data: `${JSON.stringify(all, null, 2)}\n` });
  }
  await writeFiles(files);
  for (const { path } of files) process.stderr.write(`wrote ${harmless(path)}\n`);
}
