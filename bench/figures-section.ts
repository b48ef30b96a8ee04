// The figures in docs/performance.md: tables of committed results. In: the page, and results by name. Out: the page with what
// stands between `<!-- results: NAME -->` and `<!-- end -->` made anew. `npm run docs` writes it; where the results of a name are
// not there, the page keeps what it has.
import { ms, type Report, type Row } from "./report.ts";
import { isWebGpu, leadOf, tableOf, unique } from "./results.ts";

const MARKED = /(<!-- results: ([\w.-]+) -->\n)[\s\S]*?(<!-- end -->)/g;

export const refreshFigures = (page: string, results: (name: string) => Report | undefined): string =>
  page.replace(MARKED, (whole, head: string, name: string, tail: string) => {
    const report = results(name);
    return report ? `${head}\n${section(name, report)}\n\n${tail}` : whole;
  });

function section(name: string, report: Report): string {
  const { device, machine } = report;
  const { date, cpu, cores, platform, ...versions } = machine;
  const named = Object.entries(versions).filter(([key]) => key !== "memory_gb");
  const intro = `Measured with \`npm run bench -- --results ${name}\` on ${date}: ${device}; ${cpu}, ${cores} cores, ${platform}; ${named.map(([key, value]) => `${key} ${value}`).join(", ")}. Medians of warm calls in ms, upload and readback included; every output was held to its reference first. All of it is in [bench/results/${name}.md](../bench/results/${name}.md).`;
  const lines = unique(report.rows.map((r) => r.workload)).map((workload) => line(report, workload));
  const head = [
    ...["workload", "mdl (least)", "GFLOP/s", "fastest WebGPU peer", "mdl is faster by"],
    ...["ONNX Runtime wasm", "faster by", "cold, mdl", "cold, fastest WebGPU peer", "dispatches", "own code"],
  ];
  return `${intro}\n\n${tableOf(head, lines)}`;
}

function line(report: Report, workload: string): string[] {
  const of = (wanted: (row: Row) => boolean): Row[] =>
    report.rows.filter((r) => r.workload === workload && r.warm_ms && wanted(r));
  const [mdl] = of((r) => r.system === "mdl");
  const gpu = leadOf(report, workload, isWebGpu);
  const [peer] = of((r) => r.system === gpu?.against);
  const [wasm] = of((r) => r.system === "ort-wasm");
  const lead = leadOf(report, workload, (system) => system === "ort-wasm");
  const [coldest] = of((r) => isWebGpu(r.system)).sort((a, b) => a.cold_ms! - b.cold_ms!);
  return [
    workload,
    mdl ? `${ms(mdl.warm_ms!.median)} (${ms(mdl.warm_ms!.min)})` : "–",
    ms(mdl?.gflops),
    peer ? `${ms(peer.warm_ms!.median)} (${peer.system})` : "–",
    gpu ? gpu.speedup.toFixed(2) : "–",
    ms(wasm?.warm_ms?.median),
    lead ? lead.speedup.toFixed(2) : "–",
    ms(mdl?.cold_ms),
    coldest ? `${ms(coldest.cold_ms)} (${coldest.system})` : "–",
    String(mdl?.dispatches ?? "–"),
    ms(mdl?.own_ms),
  ];
}
