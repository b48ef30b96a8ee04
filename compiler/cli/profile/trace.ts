// A profile in the Trace Event Format, which Chrome (chrome://tracing) and Perfetto (ui.perfetto.dev) open. In: what ran and for
// how long. Out: JSON. Kernels stand one after the other, as they ran; gaps between them were not measured.

export interface TraceRow {
  readonly kernel: string;
  readonly site: string;
  readonly microseconds: number;
  /** What a click on it shows. */
  readonly details: Readonly<Record<string, string | number>>;
}

const PROCESS = 1;
const HOST = 1;
const GPU = 2;

/** `host`: microseconds from the call to the return of `submit`. */
export function traceText(name: string, device: string, host: number, rows: readonly TraceRow[]): string {
  const meta = (what: string, tid: number, text: string): object => ({
    name: what,
    ph: "M",
    pid: PROCESS,
    tid,
    args: { name: text },
  });
  const events: object[] = [
    meta("process_name", HOST, `mdl ${name}`),
    meta("thread_name", HOST, "JavaScript: call to submit"),
    meta("thread_name", GPU, device),
    { name: `${name}()`, cat: "host", ph: "X", pid: PROCESS, tid: HOST, ts: 0, dur: host },
  ];
  let at = host;
  for (const { kernel, site, microseconds, details } of rows) {
    events.push({
      name: kernel,
      cat: "gpu",
      ph: "X",
      pid: PROCESS,
      tid: GPU,
      ts: at,
      dur: microseconds,
      args: { at: site, ...details },
    });
    at += microseconds;
  }
  return `${JSON.stringify({ displayTimeUnit: "ms", traceEvents: events }, null, 1)}\n`;
}
