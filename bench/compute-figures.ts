// `npm run bench -- --figures`: computes what must come out of workloads, with PyTorch in double precision. In: names. Out:
// bench/figures/NAME.json. The files are committed; nothing else of the project needs Python.
import { writeFigure } from "./figures.ts";
import { prepared } from "./networks/prepared.ts";
import { TorchSession, torchVersion } from "./systems/torch.ts";
import { STEPS } from "./workload.ts";
import { curves, workloads } from "./workloads.ts";

export async function computeFigures(
  names: readonly string[],
  folder: string,
  say: (line: string) => void,
): Promise<number> {
  if (torchVersion() === "") {
    say("there is no Python with torch: MDL_BENCH_PYTHON names one");
    return 3;
  }
  for (const { name, network, training, ...workload } of [...workloads, ...curves].filter((w) =>
    names.includes(w.name),
  )) {
    say(name);
    const data = workload.data();
    const ready = prepared(network!, data.weights, { turned: false });
    const session = await TorchSession.start(ready, data, folder, { device: "cpu", dtype: "float64" });
    await session.ask("open");
    for (let step = 0; step < (training ? STEPS : 1); step++) await session.ask("call");
    writeFigure(name, `PyTorch ${torchVersion()}, float64`, await session.results());
    session.end();
  }
  return 0;
}
