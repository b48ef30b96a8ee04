// jax-js, as its users would write the networks: one function under jit, gradients by valueAndGrad, the optimiser in the same
// jitted function. In: a network (networks/network.ts) with its weights. Out: a function that puts the weights on the
// device; what it returns calls the network. Arrays are counted: an operation consumes what it is given, `.ref` is another
// reference to it.
import { defaultDevice, init, jit, lax, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";

export async function prepare({ kind, network, weights, inputs, steps }) {
  const array = ({ data, shape }) => np.array(data, { shape });
  const learnt = [...weights.keys()].filter((name) => !/running_(mean|var)$/.test(name));

  return async () => {
    if (!(await init(kind)).includes(kind)) throw new Error(`jax-js has no device ${kind} here`);
    defaultDevice(kind);
    let params = Object.fromEntries(learnt.map((name) => [name, array(weights.get(name))]));
    const given = () => Object.fromEntries(Object.entries(inputs).map(([name, port]) => [name, array(port)]));
    if (!network.training) {
      const forward = jit((p, x) => run(network, { ...p, ...x }, Object.values(network.outputs)));
      let last = [];
      return {
        async call() {
          last = await Promise.all(forward(tree.ref(params), given()).map((y) => y.data()));
        },
        results: async () =>
          Object.fromEntries(Object.keys(network.outputs).map((name, i) => [name, last[i]])),
        close: () => undefined,
      };
    }
    const loss = (p, x) => run(network, { ...p, ...x }, [network.training.loss])[0];
    const optimizer = OPTIMIZERS[network.training.optimizer.kind](network.training.optimizer, learnt);
    const step = jit((p, state, numbers, x) => {
      const [value, gradients] = valueAndGrad(loss)(tree.ref(p), x);
      return { value, ...optimizer.update(p, gradients, state, numbers) };
    });
    let state = optimizer.state(weights);
    let count = 0;
    const losses = [];
    return {
      async call() {
        const out = step(params, state, np.array(optimizer.numbers(++count)), given());
        ({ params, state } = out);
        losses.push((await out.value.data())[0]);
      },
      results: async () => ({ losses: losses.slice(0, steps) }),
      close: () => undefined,
    };
  };
}

const zeros = (names, weights) =>
  Object.fromEntries(names.map((name) => [name, np.zeros(weights.get(name).shape)]));

const OPTIMIZERS = {
  adam: ({ lr }, names) => ({
    state: (weights) => ({ m: zeros(names, weights), v: zeros(names, weights) }),
    numbers: (t) => [1 - 0.9 ** t, 1 - 0.999 ** t],
    update(params, gradients, state, numbers) {
      const next = { params: {}, state: { m: {}, v: {} } };
      for (const name of names) {
        const g = gradients[name];
        const m = state.m[name].mul(0.9).add(g.ref.mul(0.1));
        const v = state.v[name].mul(0.999).add(g.ref.mul(g).mul(0.001));
        next.state.m[name] = m.ref;
        next.state.v[name] = v.ref;
        const [c1, c2] = [numbers.ref.slice(0), numbers.ref.slice(1)];
        next.params[name] = params[name].sub(
          m
            .div(c1)
            .mul(lr)
            .div(np.sqrt(v.div(c2)).add(1e-8)),
        );
      }
      numbers.dispose();
      return next;
    },
  }),
  sgd: ({ lr, momentum }, names) => ({
    state: (weights) => ({ m: zeros(names, weights) }),
    numbers: () => [1],
    update(params, gradients, state, numbers) {
      const next = { params: {}, state: { m: {} } };
      for (const name of names) {
        const m = state.m[name].mul(momentum).add(gradients[name]);
        next.state.m[name] = m.ref;
        next.params[name] = params[name].sub(m.mul(lr));
      }
      numbers.dispose();
      return next;
    },
  }),
};

/** The values named, each consumed by its last use. */
function run(network, values, wanted) {
  const left = new Map();
  const used = [...network.nodes.flatMap((n) => n.inputs), ...wanted];
  for (const name of used) left.set(name, (left.get(name) ?? 0) + 1);
  const take = (name) => {
    const rest = left.get(name) - 1;
    left.set(name, rest);
    return rest > 0 ? values[name].ref : values[name];
  };
  for (const node of network.nodes) {
    // Running statistics are no parameters here: a training step leaves them.
    const a = node.inputs.filter((name) => values[name] !== undefined).map(take);
    const made = OPS[node.op](a, { ...node.attrs, shape: node.shape });
    if (Array.isArray(made)) for (const [i, name] of node.outputs.entries()) values[name] = made[i];
    else values[node.outputs[0]] = made;
  }
  return wanted.map(take);
}

const channels = (x) => x.reshape([1, -1, 1, 1]);
const OPS = {
  conv([x, weight, bias], { stride, padding, groups }) {
    const pads = [
      [padding, padding],
      [padding, padding],
    ];
    const y = lax.convGeneralDilated(x, weight, [stride, stride], pads, { featureGroupCount: groups });
    return bias ? y.add(channels(bias)) : y;
  },
  // With a stride as large as the kernel each pixel becomes a window, by one product. Its own convTranspose computes something
  // else on WebGPU than on its other devices (0.1.25).
  conv_transpose([x, weight, bias], { k, shape: [n, cout, height, width] }) {
    const [h, w] = [height / k, width / k];
    const cin = weight.shape[0];
    const pixels = np.transpose(x, [0, 2, 3, 1]).reshape([n * h * w, cin]);
    const windows = np.matmul(pixels, weight.reshape([cin, cout * k * k])).reshape([n, h, w, cout, k, k]);
    const y = np.transpose(windows, [0, 3, 1, 4, 2, 5]).reshape([n, cout, height, width]);
    return y.add(channels(bias));
  },
  // In training alone: of the batch's own statistics. Running ones are left as they are.
  batch_norm([x, weight, bias], { eps }) {
    const axes = { keepdims: true };
    const centred = x.ref.sub(x.mean([0, 2, 3], axes));
    const variance = centred.ref.mul(centred.ref).mean([0, 2, 3], axes);
    const scaled = centred.mul(channels(weight)).div(np.sqrt(variance.add(eps)));
    return scaled.add(channels(bias));
  },
  linear([x, weight, bias], { turned }) {
    const y = np.matmul(x, turned ? weight : np.transpose(weight));
    return bias ? y.add(bias) : y;
  },
  matmul: ([a, b]) => np.matmul(a, b),
  attention([q, k, v], { causal, shape: [, , length, d] }) {
    const scores = np.matmul(q, np.transpose(k, [0, 1, 3, 2])).mul(1 / Math.sqrt(d));
    const masked = causal ? np.where(np.tri(length, length, 0).greater(0.5), scores, -1e9) : scores;
    return np.matmul(nn.softmax(masked, -1), v);
  },
  layer_norm: ([x, weight, bias], { eps }) => nn.standardize(x, -1, { epsilon: eps }).mul(weight).add(bias),
  embedding: ([ids, table]) => table.slice(ids),
  lstm([x, wi, wh, bi, bh], { h }) {
    const [b, t] = x.shape;
    const inputs = np.matmul(x, np.transpose(wi)).add(bi).add(bh);
    const recurrent = np.transpose(wh);
    let state = np.zeros([b, h]);
    let cell = np.zeros([b, h]);
    const states = [];
    for (let i = 0; i < t; i++) {
      const gates = inputs.ref.slice([], i).add(np.matmul(state, recurrent.ref));
      const [input, forget, candidate, output] = np.split(gates, 4, -1);
      cell = nn
        .sigmoid(forget)
        .mul(cell)
        .add(nn.sigmoid(input).mul(np.tanh(candidate)));
      state = nn.sigmoid(output).mul(np.tanh(cell.ref));
      states.push(state.ref);
    }
    for (const rest of [inputs, recurrent, state, cell]) rest.dispose();
    return np.stack(states, 1);
  },
  relu: ([x]) => nn.relu(x),
  relu6: ([x]) => nn.relu6(x),
  gelu: ([x]) => nn.gelu(x, { approximate: false }),
  softmax: ([x]) => nn.softmax(x, -1),
  add: ([a, b]) => a.add(b),
  max_pool([x], { k, stride, padding }) {
    const pad = [padding, padding];
    // What it is given is behind a ReLU: zeros change nothing.
    const padded = padding ? np.pad(x, [[0, 0], [0, 0], pad, pad]) : x;
    return lax.reduceWindow(padded, np.max, [k, k], [stride, stride]);
  },
  global_avg_pool: ([x]) => x.mean([2, 3]),
  flatten: ([x]) => x.reshape([x.shape[0], -1]),
  reshape: ([x], { shape }) => x.reshape(shape),
  transpose: ([x], { perm }) => np.transpose(x, perm),
  concat: (a, { axis }) => np.concatenate(a, axis),
  split: ([x], { parts }) => np.split(x, parts, -1),
  shrink([x], { more }) {
    const [n, c, h, w] = x.shape;
    // Every second of a pair.
    const half = x.reshape([n, c, h / 2, 2, w / 2, 2]).slice([], [], [], 0, [], 0);
    return np.pad(half, [
      [0, 0],
      [more, more],
      [0, 0],
      [0, 0],
    ]);
  },
  cross_entropy([logits, labels]) {
    const [rows, classes] = logits.shape;
    const hot = nn.oneHot(labels, classes);
    return nn
      .logSoftmax(logits, -1)
      .mul(hot)
      .sum()
      .mul(-1 / rows);
  },
};
