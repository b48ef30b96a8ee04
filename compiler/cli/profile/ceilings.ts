// What a device can do at most: multiply-adds and bytes a second, measured with two kernels that do nothing else. In: a device.
// Out: rates that a profile is held against. They are what these kernels reached, not what a data sheet says.
import { COPY_DST, COPY_SRC, MAP_READ, QUERY_RESOLVE, STORAGE } from "../../../runtime/core/flags.ts";
import { InternalError } from "../../core/index.ts";

export interface Ceilings {
  /** f32 operations a second in units of 1e9; a multiply-add is two. */
  readonly gflops: number;
  /** Bytes read and written a second, in units of 1e9. */
  readonly gbs: number;
}

/** Multiply-adds of one vec4 a turn; eight chains, so that none waits for itself. */
const CHAINS = 8;
const TURNS = 16;
/** Times the chains stand in the text: what a turn of a loop costs is not what is measured. */
const UNROLLED = 16;
/** Of a workgroup: as many as every device has, so that a million of them are within its grid. */
const THREADS = 256;

const arithmetic = `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(f32(id.x) * 1e-9 + 1.0);
${Array.from({ length: CHAINS }, (_, i) => `  var c${i} = x + ${i}.0;`).join("\n")}
  for (var turn = 0u; turn < ${TURNS}u; turn++) {
${Array.from({ length: CHAINS * UNROLLED }, (_, i) => `    c${i % CHAINS} = c${i % CHAINS} * x + x;`).join("\n")}
  }
  out[id.x] = ${Array.from({ length: CHAINS }, (_, i) => `c${i}`).join(" + ")};
}`;

const copying = `
@group(0) @binding(0) var<storage, read_write> target_items: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> source_items: array<vec4<f32>>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  target_items[id.x] = source_items[id.x];
}`;

/** Bytes of a vec4 of f32. */
const ITEM = 16;
/** Runs of a kernel, the best of which counts. */
const RUNS = 10;

export async function measureCeilings(device: GPUDevice, software: boolean): Promise<Ceilings> {
  // Enough work for some milliseconds: a GPU does in that time a thousand times what a software adapter does.
  const items = software ? 1 << 17 : 1 << 23;
  const bytes = items * ITEM;
  const buffers = [0, 1].map(() => device.createBuffer({ size: bytes, usage: STORAGE }));
  device.pushErrorScope("validation");
  try {
    const timer = device.features.has("timestamp-query") ? new Timer(device) : undefined;
    const run = async (code: string, used: readonly GPUBuffer[], threads: number): Promise<number> => {
      const pipeline = device.createComputePipeline({
        layout: "auto",
        compute: { module: device.createShaderModule({ code }) },
      });
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: used.map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i <= RUNS; i++) {
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass({ timestampWrites: timer?.writes });
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(threads / THREADS);
        pass.end();
        timer?.resolve(encoder);
        const commands = encoder.finish();
        const since = performance.now();
        device.queue.submit([commands]);
        await device.queue.onSubmittedWorkDone();
        const seconds = (await timer?.seconds()) ?? (performance.now() - since) / 1000;
        // The first one compiles.
        if (i > 0 && seconds > 0) best = Math.min(best, seconds);
      }
      return best;
    };
    const threads = software ? 1 << 15 : 1 << 21;
    const computing = await run(arithmetic, buffers.slice(0, 1), threads);
    const moving = await run(copying, buffers, items);
    const refused = await device.popErrorScope();
    if (refused) throw new InternalError("profile", refused.message);
    return {
      gflops: (threads * TURNS * UNROLLED * CHAINS * 8) / computing / 1e9,
      gbs: (2 * bytes) / moving / 1e9,
    };
  } finally {
    for (const b of buffers) b.destroy();
  }
}

/** The GPU's own clock around a pass. */
class Timer {
  readonly writes: GPUComputePassTimestampWrites;
  readonly #set: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #read: GPUBuffer;
  constructor(device: GPUDevice) {
    this.#set = device.createQuerySet({ type: "timestamp", count: 2 });
    this.writes = { querySet: this.#set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
    this.#resolved = device.createBuffer({ size: 16, usage: QUERY_RESOLVE | COPY_SRC });
    this.#read = device.createBuffer({ size: 16, usage: COPY_DST | MAP_READ });
  }
  resolve(encoder: GPUCommandEncoder): void {
    encoder.resolveQuerySet(this.#set, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#read, 0, 16);
  }
  async seconds(): Promise<number> {
    await this.#read.mapAsync(1);
    const [from, to] = new BigUint64Array(this.#read.getMappedRange());
    const nanoseconds = Number(to - from);
    this.#read.unmap();
    return nanoseconds / 1e9;
  }
}
