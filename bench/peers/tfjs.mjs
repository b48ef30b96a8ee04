// TensorFlow.js, as its users would write the networks: images NHWC, convolutions with bias and activation fused for
// inference, variables and its own optimisers for training. In: a network (networks/network.ts) with its weights. Out: a
// function that puts the weights on the device; what it returns calls the network.
import * as tf from "@tensorflow/tfjs";
import { channelsFirst, NHWC, permuted } from "./layouts.mjs";

export async function prepare({ kind, network, weights, inputs, threads, steps }) {
  if (kind === "wasm") {
    const wasm = await import("@tensorflow/tfjs-backend-wasm");
    wasm.setWasmPaths(new URL("./", import.meta.resolve("@tensorflow/tfjs-backend-wasm")).pathname);
    wasm.setThreadsCount(threads);
  } else await import("@tensorflow/tfjs-backend-webgpu");
  const images = imagesOf(network);
  const given = Object.entries(inputs).map(([name, { data, shape }]) =>
    images.has(name)
      ? [name, permuted(data, shape, NHWC), NHWC.map((i) => shape[i]), "float32"]
      : [name, data, shape, data instanceof Int32Array ? "int32" : "float32"],
  );
  const laid = layWeights(network, weights);

  return async () => {
    if (!(await tf.setBackend(kind))) throw new Error(`TensorFlow.js has no backend ${kind} here`);
    await tf.ready();
    const params = {};
    for (const [name, { data, shape, learnt }] of laid) {
      const tensor = tf.tensor(data, shape);
      params[name] = network.training && learnt ? tf.variable(tensor) : tensor;
    }
    const values = () => {
      const made = { ...params };
      for (const [name, data, shape, dtype] of given) made[name] = tf.tensor(data, shape, dtype);
      return made;
    };
    const { training } = network;
    let last = {};
    const losses = [];
    const infer = async () => {
      const out = tf.tidy(() => {
        const all = run(network, values());
        return Object.fromEntries(Object.entries(network.outputs).map(([name, value]) => [name, all[value]]));
      });
      last = {};
      for (const [name, tensor] of Object.entries(out)) {
        last[name] = { data: await tensor.data(), image: tensor.shape };
        tensor.dispose();
      }
    };
    const optimizer = training && optimizerOf(training.optimizer);
    const train = async () => {
      const loss = optimizer.minimize(() => run(network, values())[training.loss], true);
      losses.push((await loss.data())[0]);
      loss.dispose();
    };
    return {
      call: training ? train : infer,
      async results() {
        if (training) return { losses: losses.slice(0, steps) };
        const shapes = new Map(network.nodes.flatMap((n) => n.outputs.map((name) => [name, n])));
        return Object.fromEntries(
          Object.entries(network.outputs).map(([name, value]) => {
            const { image, shape } = shapes.get(value);
            return [name, image ? channelsFirst(last[name].data, shape) : last[name].data];
          }),
        );
      },
      close: () => undefined,
    };
  };
}

function optimizerOf({ kind, lr, momentum }) {
  return kind === "adam" ? tf.train.adam(lr, 0.9, 0.999, 1e-8) : tf.train.momentum(lr, momentum);
}

/** Inputs that are images: those that a node of images takes first. */
function imagesOf(network) {
  const wanted = network.nodes.filter((n) => n.image).map((n) => n.inputs[0]);
  return new Set(wanted.filter((name) => network.inputs[name]?.shape.length === 4));
}

/** Parameters as TensorFlow.js has them. */
function layWeights(network, weights) {
  const laid = new Map();
  const flattened = new Map(network.nodes.filter((n) => n.op === "flatten").map((n) => [n.outputs[0], n]));
  const put = (name, order, shape = weights.get(name).shape) => {
    const { data } = weights.get(name);
    laid.set(name, { data: permuted(data, shape, order), shape: order.map((i) => shape[i]), learnt: true });
  };
  for (const { op, inputs, attrs } of network.nodes) {
    const [x, name] = inputs;
    // OIHW as HWIO; a depthwise one as HWI1.
    if (op === "conv") put(name, attrs.groups > 1 ? [2, 3, 0, 1] : [2, 3, 1, 0]);
    else if (op === "conv_transpose") put(name, [2, 3, 1, 0]);
    else if (op === "linear" && flattened.has(x)) {
      // Its input is flattened from NHWC.
      const [, c, h, w] = flattened.get(x).attrs.of;
      const [rows, out] = weights.get(name).shape;
      put(name, [1, 2, 0, 3], [c, h, w, out]);
      laid.set(name, { ...laid.get(name), shape: [rows, out] });
    } else if (op === "batch_norm") {
      for (const running of inputs.slice(3)) laid.set(running, { ...weights.get(running), learnt: false });
    }
  }
  for (const [name, { data, shape }] of weights)
    if (!laid.has(name)) laid.set(name, { data, shape, learnt: true });
  return laid;
}

function run(network, values) {
  const uses = new Map();
  for (const { inputs } of network.nodes)
    for (const name of inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  for (const [i, node] of network.nodes.entries()) {
    if (values[node.outputs[0]]) continue;
    const a = node.inputs.map((name) => values[name]);
    const next = network.nodes[i + 1];
    const activation =
      !network.training &&
      ["relu", "relu6"].includes(next?.op) &&
      next.inputs[0] === node.outputs[0] &&
      uses.get(node.outputs[0]) === 1
        ? next.op
        : undefined;
    const made = OPS[node.op](a, { ...node.attrs, shape: node.shape, activation }, network);
    if (Array.isArray(made)) for (const [j, name] of node.outputs.entries()) values[name] = made[j];
    else values[node.outputs[0]] = made;
    if (activation && node.op === "conv") values[next.outputs[0]] = made;
  }
  return values;
}

const OPS = {
  conv([x, filter, bias], { stride, padding, groups, activation }, { training }) {
    const depthwise = groups > 1;
    if (training) {
      const y = depthwise
        ? tf.depthwiseConv2d(x, filter, stride, padding)
        : tf.conv2d(x, filter, stride, padding, "NHWC", 1, "floor");
      return bias ? tf.add(y, bias) : y;
    }
    const conv = depthwise ? tf.fused.depthwiseConv2d : tf.fused.conv2d;
    return conv({
      x,
      filter,
      strides: stride,
      pad: padding,
      dimRoundingMode: "floor",
      bias,
      activation: activation ?? "linear",
    });
  },
  conv_transpose([x, filter, bias], { stride, shape: [n, c, h, w] }) {
    return tf.add(tf.conv2dTranspose(x, filter, [n, h, w, c], stride, "valid"), bias);
  },
  // In training alone: of the batch's own statistics. Running ones are left as they are.
  batch_norm([x, weight, bias], { eps }) {
    const { mean, variance } = tf.moments(x, [0, 1, 2]);
    return tf.batchNorm(x, mean, variance, bias, weight, eps);
  },
  linear([x, weight, bias], { shape, turned }, { training }) {
    const rows = x.rank > 2 ? tf.reshape(x, [-1, x.shape.at(-1)]) : x;
    let y;
    if (training) {
      y = tf.matMul(rows, weight, false, !turned);
      if (bias) y = tf.add(y, bias);
    } else y = tf.fused.matMul({ a: rows, b: weight, transposeB: !turned, bias });
    return x.rank > 2 ? tf.reshape(y, shape) : y;
  },
  matmul: ([a, b]) => tf.matMul(a, b),
  attention([q, k, v], { causal, shape: [, , length, d] }) {
    let scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(d));
    if (causal) {
      const far = Float32Array.from({ length: length * length }, (_, i) =>
        i % length > Math.floor(i / length) ? -1e9 : 0,
      );
      scores = tf.add(scores, tf.tensor(far, [length, length]));
    }
    return tf.matMul(tf.softmax(scores), v);
  },
  layer_norm([x, weight, bias], { eps }) {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps))), weight), bias);
  },
  embedding: ([ids, table]) => tf.gather(table, ids),
  lstm([x, wi, wh, bi, bh], { h }) {
    const [b, t, d] = x.shape;
    const inputs = tf.matMul(tf.reshape(x, [b * t, d]), wi, false, true);
    const gates = tf.unstack(tf.reshape(tf.add(tf.add(inputs, bi), bh), [b, t, 4 * h]), 1);
    let state = tf.zeros([b, h]);
    let cell = state;
    const states = gates.map((gate) => {
      const [i, f, g, o] = tf.split(tf.add(gate, tf.matMul(state, wh, false, true)), 4, 1);
      cell = tf.add(tf.mul(tf.sigmoid(f), cell), tf.mul(tf.sigmoid(i), tf.tanh(g)));
      state = tf.mul(tf.sigmoid(o), tf.tanh(cell));
      return state;
    });
    return tf.stack(states, 1);
  },
  relu: ([x]) => tf.relu(x),
  relu6: ([x]) => tf.relu6(x),
  gelu: ([x]) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  softmax: ([x]) => tf.softmax(x),
  add: ([a, b]) => tf.add(a, b),
  max_pool: ([x], { k, stride, padding }) => tf.maxPool(x, k, stride, padding, "floor"),
  global_avg_pool: ([x]) => tf.mean(x, [1, 2]),
  flatten: ([x]) => tf.reshape(x, [x.shape[0], -1]),
  reshape: ([x], { shape }) => tf.reshape(x, shape),
  transpose: ([x], { perm }) => tf.transpose(x, perm),
  // Of images the channels; else the axis as it is.
  concat: (a, { axis }, _) => tf.concat(a, a[0].rank === 4 && axis === 1 ? 3 : axis),
  split: ([x], { parts }) => tf.split(x, parts, -1),
  // A pool of one pixel: its strided slices have no gradient.
  shrink: ([x], { more }) =>
    tf.pad(tf.maxPool(x, 1, 2, "valid"), [
      [0, 0],
      [0, 0],
      [0, 0],
      [more, more],
    ]),
  cross_entropy([logits, labels]) {
    const hot = tf.oneHot(labels, logits.shape.at(-1)).toFloat();
    return tf.losses.softmaxCrossEntropy(hot, logits);
  },
};
