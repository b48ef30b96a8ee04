// ONNX Runtime: its native library (CPU, and WebGPU on a Dawn of its own) and its WebAssembly build. In: the bytes of an
// ONNX file and inputs. Out: a function that makes a session; what it returns calls it.
export async function prepare({ kind, model, inputs, threads }) {
  const ort = kind === "wasm" ? await web(threads) : (await import("onnxruntime-node")).default;
  return async () => {
    const session = await ort.InferenceSession.create(model, {
      executionProviders: [kind],
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
    });
    let results = {};
    const given = session.inputMetadata.map(({ name, type }) => {
      const { data, shape } = inputs[name];
      return [name, type, type === "int64" ? BigInt64Array.from(data, BigInt) : data, shape];
    });
    return {
      async call() {
        // Tensors are made anew: what is in them is new at each call.
        const feeds = Object.fromEntries(
          given.map(([name, type, data, shape]) => [name, new ort.Tensor(type, data, shape)]),
        );
        results = await session.run(feeds);
      },
      async results() {
        const read = async ([name, tensor]) => [name, await tensor.getData()];
        return Object.fromEntries(await Promise.all(Object.entries(results).map(read)));
      },
      close: () => session.release(),
    };
  };
}

async function web(threads) {
  // In Node the package is its build for Node, whose workers are threads.
  const ort = await import("onnxruntime-web");
  ort.env.wasm.wasmPaths = new URL("./", import.meta.resolve("onnxruntime-web")).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return ort;
}

/** What the file wants: [{ name, shape (numbers and names), type }]. */
export async function ports(model) {
  const ort = (await import("onnxruntime-node")).default;
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  const { inputMetadata } = session;
  await session.release();
  return inputMetadata;
}
